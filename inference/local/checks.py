"""Checks of an image before the user is charged for it."""

from typing import Any

import numpy as np
import torch

from inference.errors import FLAT_LEVELS, ImageFlat, ImageNotFinite


def check_latents(latents: torch.Tensor) -> None:
    """Check the latents (B, T, 64) after the last step, since NaN decodes to a black image without an error.

    Raises:
        ImageNotFinite: they contain NaN or infinity.

    """
    if not bool(torch.isfinite(latents).all()):
        raise ImageNotFinite("latents")


def check_pixels(pixels: np.ndarray[Any, np.dtype[np.float32]]) -> None:
    """Check the decoded image (H, W, 3) with values from 0 to 1.

    Raises:
        ImageNotFinite: it contains NaN or infinity.
        ImageFlat: the standard deviation of each channel is below one level of 255.

    """
    if not np.isfinite(pixels).all():
        raise ImageNotFinite("decoded pixels")
    deviation = 255 * float(pixels.std(axis=(0, 1)).max())  # per channel, so that a uniform red is flat too
    if deviation < FLAT_LEVELS:
        raise ImageFlat(deviation)
