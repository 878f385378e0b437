from importlib.resources import files
from io import BytesIO

import pytest
from PIL import Image

from catalog.presets import shipped_presets
from server.errors import NotFound
from server.images.encoding import THUMBNAIL_PX
from server.presets import pictures
from server.presets.pictures import FOLDER, Variant

SIZES = {Variant.FULL: (512, 512), Variant.THUMBNAIL: (THUMBNAIL_PX, THUMBNAIL_PX)}
MAX_BYTES = 2_000_000


def name_of(preset_id, variant):
    """Return the last part of a picture's path."""
    return pictures.path(preset_id, variant).removeprefix(f"{FOLDER}/")


class TestFiles:
    def test_every_preset_has_its_pictures(self):
        """The folder has a picture and a thumbnail of every preset and nothing else, in less than 2 MB."""
        shipped = {file.name: file.read_bytes() for file in files("catalog").joinpath("pictures").iterdir()}
        assert set(shipped) == {
            f"{preset_id}-{variant}.jpg" for preset_id in shipped_presets() for variant in Variant
        }
        assert sum(map(len, shipped.values())) < MAX_BYTES

    def test_the_pictures_are_sound(self):
        """Every file is a JPEG of its size that decodes to the last pixel and shows more than one colour."""
        for preset_id in shipped_presets():
            for variant, size in SIZES.items():
                image = Image.open(BytesIO(pictures.read(name_of(preset_id, variant))))
                image.load()
                assert (image.format, image.mode, image.size) == ("JPEG", "RGB", size)
                assert max(high - low for low, high in image.getextrema()) > 100

    def test_no_picture_is_another(self):
        """No two files have the same content."""
        contents = {
            pictures.read(name_of(preset_id, variant))
            for preset_id in shipped_presets()
            for variant in Variant
        }
        assert len(contents) == len(shipped_presets()) * len(Variant)


class TestRead:
    def test_no_other_name_opens(self):
        """A name with another digest, of another folder or without a digest is not found."""
        name = name_of(next(iter(shipped_presets())), Variant.FULL)
        other_digest = name[:-5] + ("0" if name[-5] != "0" else "1") + ".jpg"
        for wrong in (other_digest, f"../{name}", name.removesuffix(".jpg"), name.upper(), "", "__init__.py"):
            with pytest.raises(NotFound, match="Image not found"):
                pictures.read(wrong)
