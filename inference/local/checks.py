"""Checks of an image before the user is charged for it."""

import torch

from inference.errors import FLAT_LEVELS, ImageFlat, ImageNotFinite


def check_latents(latents: torch.Tensor) -> None:
    """Check the latents (B, T, 64) after the last step, since NaN decodes to a black image without an error.

    Raises:
        ImageNotFinite: they contain NaN or infinity.

    """
    if not bool(torch.isfinite(latents).all()):
        raise ImageNotFinite("latents")


def check_pixels(pixels: torch.Tensor) -> None:
    """Check the decoded image (H, W, 3), on its device. Black is 0 and white is 1.

    Raises:
        ImageNotFinite: it contains NaN or infinity.
        ImageFlat: the standard deviation of each channel is below one level of 255.

    """
    if not bool(torch.isfinite(pixels).all()):
        raise ImageNotFinite("decoded pixels")
    deviations = pixels.clamp(0, 1).flatten(0, 1).std(dim=0, correction=0)
    deviation = 255 * float(deviations.max())  # per channel, so that a uniform red is flat too
    if deviation < FLAT_LEVELS:
        raise ImageFlat(deviation)
