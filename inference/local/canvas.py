"""The size that is drawn for the size that was ordered. A pure function."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Canvas:
    """What the pipeline draws, and where in it the ordered image lies. In pixels."""

    width_px: int
    height_px: int
    left_px: int
    top_px: int

    def box(self, width_px: int, height_px: int) -> tuple[int, int, int, int]:
        """Return the ordered image's left, top, right and bottom on the canvas."""
        return self.left_px, self.top_px, self.left_px + width_px, self.top_px + height_px


def canvas_for(width_px: int, height_px: int, grid_px: int) -> Canvas:
    """Choose the smallest canvas on the grid that holds the ordered size in its middle.

    grid_px: twice the VAE's spatial factor, since FLUX.1 packs 2x2 latents: 16 px, and 64 px in the
    miniature. The pipeline itself would round down and deliver less than was ordered.
    """
    width, height = (-(-side // grid_px) * grid_px for side in (width_px, height_px))
    return Canvas(width, height, (width - width_px) // 2, (height - height_px) // 2)
