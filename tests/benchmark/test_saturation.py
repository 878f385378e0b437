import pytest

from benchmark.saturated import Saturation
from benchmark.saturation import BARE, IMAGES, MODES
from inference.scripted import Script, ScriptedBackend


class Counting(ScriptedBackend):
    """Draws by script, and counts the rows of each batch."""

    def __init__(self):
        super().__init__(Script(max_batch=4))
        self.rows = []

    def generate_batch(self, rows):
        """Draw the rows."""
        self.rows.append(len(rows))
        return super().generate_batch(rows)


class TestSaturation:
    @pytest.mark.parametrize("mode", [BARE, *MODES])
    def test_a_turn_draws_its_images(self, uow, settings, mode):
        """Each way draws as many images, of the same entry, and only the last one in batches."""
        backend = Counting()
        measured = Saturation(settings, backend, uow).draw(mode)
        assert measured["seconds"] > 0
        assert measured["processor_s"] > 0
        assert {order.steps for order in backend.orders} == {4}
        assert backend.rows == ([4, 4, 4] if mode == "batches" else [1] * IMAGES)
