from io import BytesIO

import pytest
from PIL import Image

from server.images.encoding import PNG_LEVEL, encode
from server.images.store import Variant

GRADIENT = Image.linear_gradient("L").convert("RGB")


def png(*level):
    """Return the PNG of a gradient."""
    return encode(GRADIENT, *level)[Variant.FULL]


class TestLevel:
    @pytest.mark.parametrize("level", [0, 1, 9])
    def test_every_level_is_the_same_image(self, level):
        """The level changes the bytes, and no pixel."""
        assert Image.open(BytesIO(png(level))).tobytes() == GRADIENT.tobytes()

    def test_a_higher_level_takes_fewer_bytes(self):
        """Level 0 compresses nothing, 9 most."""
        assert len(png(9)) < len(png(1)) < len(png(0))

    def test_the_default_is_that_of_the_library(self):
        """Without a level the bytes are those that Pillow writes by itself."""
        file = BytesIO()
        GRADIENT.save(file, "PNG")
        assert png() == png(PNG_LEVEL) == file.getvalue()
