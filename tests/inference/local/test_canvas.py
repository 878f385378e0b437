from hypothesis import given
from hypothesis import strategies as st

from inference.local.canvas import Canvas, canvas_for

sides = st.integers(min_value=1, max_value=4096)
grids = st.sampled_from([16, 32, 64])


class TestCanvas:
    @given(sides, sides, grids)
    def test_it_holds_the_order(self, width_px, height_px, grid_px):
        """A canvas is on the grid, and contains a box of exactly the ordered size."""
        canvas = canvas_for(width_px, height_px, grid_px)
        left, top, right, bottom = canvas.box(width_px, height_px)
        assert canvas.width_px % grid_px == canvas.height_px % grid_px == 0
        assert (right - left, bottom - top) == (width_px, height_px)
        assert 0 <= left <= right <= canvas.width_px
        assert 0 <= top <= bottom <= canvas.height_px

    @given(sides, sides, grids)
    def test_it_wastes_less_than_a_cell(self, width_px, height_px, grid_px):
        """A canvas exceeds the order by less than one cell of the grid, half of it on each side."""
        canvas = canvas_for(width_px, height_px, grid_px)
        for spare, before in (
            (canvas.width_px - width_px, canvas.left_px),
            (canvas.height_px - height_px, canvas.top_px),
        ):
            assert 0 <= spare < grid_px
            assert before == spare // 2

    def test_on_the_grid_nothing_is_cropped(self):
        """On FLUX.1's own grid of 16 px every valid order is drawn without cropping."""
        assert canvas_for(528, 784, 16) == Canvas(528, 784, 0, 0)

    def test_the_miniatures_grid_is_coarser(self):
        """For 528x784 the miniature draws 576x832 and crops the centre."""
        assert canvas_for(528, 784, 64) == Canvas(576, 832, 24, 24)
