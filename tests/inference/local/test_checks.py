import numpy as np
import pytest
import torch

from inference.errors import ImageFlat, ImageNotFinite
from inference.local.checks import check_latents, check_pixels


class TestCheckLatents:
    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    def test_one_bad_value_is_enough(self, value):
        """Latents with a single value that is not finite are refused."""
        latents = torch.zeros(1, 64, 64)
        latents[0, 63, 63] = value
        with pytest.raises(ImageNotFinite, match="latents"):
            check_latents(latents)

    def test_finite_latents_pass(self):
        """Finite latents pass, however large."""
        check_latents(torch.full((1, 64, 64), 1e30))


class TestCheckPixels:
    def test_nan_is_refused(self):
        """One NaN among the pixels is refused."""
        pixels = np.random.default_rng(1).random((8, 8, 3), dtype=np.float32)
        pixels[3, 3, 1] = np.nan
        with pytest.raises(ImageNotFinite, match="pixels"):
            check_pixels(pixels)

    @pytest.mark.parametrize("colour", [(0, 0, 0), (1, 1, 1), (0.8, 0.1, 0.1)])
    def test_one_even_colour_is_flat(self, colour):
        """An image of any single uniform colour is flat."""
        with pytest.raises(ImageFlat):
            check_pixels(np.full((8, 8, 3), colour, dtype=np.float32))

    def test_faint_noise_is_flat(self):
        """Noise of half a level around black is flat."""
        noise = np.random.default_rng(1).random((64, 64, 3), dtype=np.float32) / 255
        with pytest.raises(ImageFlat) as caught:
            check_pixels(noise)
        assert 0.2 < caught.value.deviation < 0.4

    def test_a_dark_image_passes(self):
        """A dark image of a few levels is not flat."""
        check_pixels(np.random.default_rng(1).random((64, 64, 3), dtype=np.float32) * 8 / 255)
