"""The size that the pipeline draws for an ordered size. Pure functions."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Canvas:
    """The size that the pipeline draws, and the position of the ordered image in it. In pixels."""

    width_px: int
    height_px: int
    left_px: int
    top_px: int

    def box(self, width_px: int, height_px: int) -> tuple[int, int, int, int]:
        """Return the left, top, right and bottom of the ordered image on the canvas."""
        return self.left_px, self.top_px, self.left_px + width_px, self.top_px + height_px


def canvas_for(width_px: int, height_px: int, grid_px: int) -> Canvas:
    """Return the smallest canvas on the grid that holds the ordered image in its centre.

    The pipeline itself would round down and draw a smaller image than ordered.

    grid_px: twice the VAE's spatial factor, since FLUX.1 packs 2x2 latents: 16 px, and 64 px in the
    miniature.
    """
    width, height = (-(-side // grid_px) * grid_px for side in (width_px, height_px))
    return Canvas(width, height, (width - width_px) // 2, (height - height_px) // 2)
