"""What must be true of an image before anybody pays for it."""

from typing import Any

import numpy as np
import torch

from inference.errors import FLAT_LEVELS, ImageFlat, ImageNotFinite


def check_latents(latents: torch.Tensor) -> None:
    """Check the latents (B, T, 64) after the last step: NaN here becomes a black image without an error.

    Raises:
        ImageNotFinite: they hold NaN or infinity.

    """
    if not bool(torch.isfinite(latents).all()):
        raise ImageNotFinite("latents")


def check_pixels(pixels: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    """Check the decoded image (H, W, 3), its values from 0 to 1.

    Raises:
        ImageNotFinite: it holds NaN or infinity.
        ImageFlat: no channel deviates by more than a level.

    """
    if not np.isfinite(pixels).all():
        raise ImageNotFinite("decoded pixels")
    deviation = 255 * float(pixels.std(axis=(0, 1)).max())  # by channel: one even red is flat too
    if deviation < FLAT_LEVELS:
        raise ImageFlat(deviation)
