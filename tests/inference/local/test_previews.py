"""Previews show what is drawn, before it is drawn."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from inference.backend import Phase
from inference.local.latents import pack
from inference.local.previews import FLUX, Previewer


def levels(image, side=32):
    """Return an image as (side, side, 3) levels."""
    return np.asarray(image.resize((side, side), Image.Resampling.BOX)).astype(float)


@pytest.fixture(scope="module")
def seen(backend, order):
    """The image of an order, and a preview at each of its steps."""
    previews = []

    def report(progress):
        if progress.phase is Phase.STEP:
            previews.append(progress.preview())

    return backend.generate(replace(order, steps=8), report).image, previews


class TestDrawing:
    def test_an_eighth_of_the_image(self, seen):
        """Each preview has an eighth of the image's width and height."""
        image, previews = seen
        assert {(8 * preview.width, 8 * preview.height) for preview in previews} == {image.size}

    def test_it_comes_nearer(self, seen):
        """Half-way the preview looks like the image, and the last one is nearer than the first."""
        image, previews = seen
        distances = [np.abs(levels(preview) - levels(image)).mean() for preview in previews]
        assert distances[4] < 25
        assert distances[-1] < 0.7 * distances[0]

    def test_it_changes_nothing(self, seen, backend, order):
        """An image whose previews were made is the same, bit for bit."""
        image, _ = seen
        alone = backend.generate(replace(order, steps=8), lambda _: None).image
        assert image.tobytes() == alone.tobytes()


class TestMap:
    def test_the_published_factors(self):
        """A latent of one channel has that channel's colour."""
        previewer = Previewer(torch.tensor(FLUX)[..., None, None], torch.zeros(3, 1, 1))
        latents = torch.zeros(1, 16, 4, 6)
        latents[0, 12] = 10  # of which each unit is 0.0817, 0.0765 and 0.0749
        picture = previewer.picture(pack(latents)[0], 2, 3)
        assert picture.size == (6, 4)
        assert picture.getpixel((0, 0)) == (232, 225, 223)

    def test_what_is_not_finite(self):
        """Latents that are not finite are shown somehow, and raise nothing."""
        latents = torch.full((1, 16, 4, 4), torch.nan)
        assert Previewer.of_flux().picture(pack(latents)[0], 2, 2).size == (4, 4)
