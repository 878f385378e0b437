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


def noise(size_px, levels):
    """Return pixels of random levels above black."""
    generator = torch.Generator().manual_seed(1)
    return torch.rand(size_px, size_px, 3, generator=generator) * levels / 255


class TestCheckPixels:
    @pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
    def test_one_bad_value_is_refused(self, value):
        """One value that is not finite is refused, though infinity could be drawn as white."""
        pixels = noise(8, 255)
        pixels[3, 3, 1] = value
        with pytest.raises(ImageNotFinite, match="pixels"):
            check_pixels(pixels)

    @pytest.mark.parametrize("colour", [(0.0, 0.0, 0.0), (1.0, 1.0, 1.0), (0.8, 0.1, 0.1)])
    def test_one_even_colour_is_flat(self, colour):
        """An image of any single uniform colour is flat."""
        with pytest.raises(ImageFlat):
            check_pixels(torch.tensor(colour).expand(8, 8, 3))

    def test_what_is_beyond_white_is_flat(self):
        """Noise that is wholly brighter than white is drawn as white, and is flat."""
        with pytest.raises(ImageFlat):
            check_pixels(noise(8, 255) + 1)

    def test_faint_noise_is_flat(self):
        """Noise of half a level around black is flat."""
        with pytest.raises(ImageFlat) as caught:
            check_pixels(noise(64, 1))
        assert 0.2 < caught.value.deviation < 0.4

    def test_a_dark_image_passes(self):
        """A dark image of a few levels is not flat."""
        check_pixels(noise(64, 8))
