from io import BytesIO

import pytest
from PIL import Image, ImageOps

from server.images.encoding import write_full, write_thumbnail
from server.uploads.decoding import decode
from server.uploads.errors import ImageRefused
from tests.server.uploads import files

MAX_PIXELS = 40_000_000
WITH_ALPHA = {"lossless WebP", "WebP with metadata"}
LOSSLESS = ["PNG", "PNG with transparency", "lossless WebP"]
# The picture of each orientation, made upright: what a camera stored is the inverse of what is shown.
STORED_AS = {
    1: None,
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}


def decoded(content, max_pixels=MAX_PIXELS):
    return decode(BytesIO(content), max_pixels)


def pixels(image):
    return image.mode, image.size, image.tobytes()


def full(image):
    """Return the stored PNG of a picture."""
    file = BytesIO()
    write_full(image, file)
    return file.getvalue()


class TestAccepted:
    @pytest.mark.parametrize("kind", files.valid())
    def test_every_kind_becomes_eight_bits_of_colour(self, kind):
        """A picture of every kind is RGB, or RGBA if it has transparency, and has no metadata."""
        picture = decoded(files.valid()[kind])
        assert picture.mode == ("RGBA" if "transparen" in kind or kind in WITH_ALPHA else "RGB")
        assert picture.info == {}

    @pytest.mark.parametrize("kind", LOSSLESS)
    def test_pixels_stay(self, kind):
        """A picture of a lossless file keeps every pixel."""
        mode = "RGB" if kind == "PNG" else "RGBA"
        assert pixels(decoded(files.valid()[kind])) == pixels(files.picture(mode))

    def test_sixteen_bits_are_scaled(self):
        """Levels of 16 bits become their high bytes, grey and coloured alike."""
        grey = decoded(files.deep_grey([0, 0x8000, 0xFFFF, 0x00FF], 2))
        assert list(grey.get_flattened_data()) == [(0,) * 3, (128,) * 3, (255,) * 3, (0,) * 3]
        assert list(decoded(files.deep_colour([(0, 0x8000, 0xFFFF)])).get_flattened_data()) == [(0, 128, 255)]

    def test_printing_colours_are_converted(self):
        """White, black and red of a CMYK file are white, black and red."""
        colours = [(255, 255, 255), (0, 0, 0), (255, 0, 0)]
        for colour in colours:
            file = files.saved(Image.new("RGB", (16, 16), colour).convert("CMYK"), "JPEG", quality=100)
            shown = decoded(file).getpixel((8, 8))
            assert all(abs(one - other) < 6 for one, other in zip(shown, colour, strict=True))

    @pytest.mark.parametrize("kind", ["PNG", "WEBP"])
    def test_an_animation_is_its_first_frame(self, kind):
        """Of an animated file the first frame is taken."""
        picture = decoded(files.animated(kind)).convert("RGB")
        assert set(picture.get_flattened_data()) == {(255, 0, 0)}

    def test_a_phones_several_pictures_are_the_first(self):
        """Of a JPEG that holds several pictures, as phones write them, the first is taken."""
        assert decoded(files.valid()["MPO"]).size == (8, 6)

    def test_one_row_as_long_as_the_cap(self):
        """A picture of one row may have as many pixels as a square one."""
        assert decoded(files.png_of(b"\0" * 5001, 40_000, 1, depth=1, colour=0), 40_000).size == (40_000, 1)


class TestOrientation:
    @pytest.mark.parametrize("orientation", STORED_AS)
    @pytest.mark.parametrize("kind", ["PNG", "WEBP"])
    def test_a_turned_picture_is_upright(self, orientation, kind):
        """A file of each EXIF orientation shows the same picture, pixel by pixel."""
        upright = files.picture()
        turn = STORED_AS[orientation]
        stored = upright if turn is None else upright.transpose(turn)
        lossless = {"lossless": True} if kind == "WEBP" else {}
        file = files.saved(stored, kind, exif=files.exif(orientation).tobytes(), **lossless)
        assert pixels(decoded(file)) == pixels(upright)

    @pytest.mark.parametrize("orientation", STORED_AS)
    def test_a_photograph_is_turned_as_pillow_turns_it(self, orientation):
        """A JPEG of each orientation is turned as Pillow's own function turns it."""
        file = files.saved(files.picture(size=(40, 24)), "JPEG", exif=files.exif(orientation).tobytes())
        assert pixels(decoded(file)) == pixels(ImageOps.exif_transpose(Image.open(BytesIO(file))))

    def test_an_orientation_that_does_not_exist(self):
        """An unknown orientation, or an EXIF block that cannot be read, leaves the picture as it is."""
        for block in (files.exif(99).tobytes(), b"Exif\0\0MM\0*\xff\xff\xff\xff", b"\0"):
            file = files.saved(files.picture(), "PNG")
            assert pixels(decoded(files.with_chunk(file, b"eXIf", block))) == pixels(files.picture())


class TestMetadata:
    @pytest.mark.parametrize("kind", [kind for kind in files.valid() if "metadata" in kind])
    def test_nothing_of_it_is_stored(self, kind):
        """Neither place, camera, comment nor colour profile is in the stored files."""
        picture = decoded(files.valid()[kind])
        thumbnail = BytesIO()
        write_thumbnail(picture, thumbnail)
        for stored in (full(picture), thumbnail.getvalue()):
            opened = Image.open(BytesIO(stored))
            assert set(opened.info) <= {"jfif", "jfif_version", "jfif_unit", "jfif_density"}
            assert not opened.getexif()
            for word in (b"Exif", b"eXIf", b"Camera", b"iCCP", b"ICC_PROFILE", b"sRGB", files.COMMENT):
                assert word not in stored

    @pytest.mark.parametrize("kind", ["PNG", "JPEG", "WebP"])
    def test_what_follows_the_picture_is_gone(self, kind):
        """A file that is also a zip archive is accepted, and the archive is not stored."""
        stored = full(decoded(files.valid()[kind] + files.zip_bytes()))
        assert b"PK" not in stored
        assert stored.endswith(files.chunk(b"IEND"))


class TestThumbnail:
    def test_transparent_is_white(self):
        """What is transparent in a picture is white in its thumbnail of 300 by 300 pixels."""
        file = BytesIO()
        write_thumbnail(Image.new("RGBA", (1, 7), (0, 0, 0, 0)), file)
        thumbnail = Image.open(file)
        assert (thumbnail.format, thumbnail.size) == ("JPEG", (300, 300))
        assert thumbnail.getpixel((150, 150)) == (255, 255, 255)


class TestRefused:
    @pytest.mark.parametrize("kind", files.refused())
    def test_every_other_file_is_refused(self, kind):
        """A file of another format, damaged or too large is refused with its reason."""
        content, word = files.refused()[kind]
        with pytest.raises(ImageRefused) as refusal:
            decoded(content)
        assert word in str(refusal.value)

    def test_the_cap_is_exact(self):
        """A picture of exactly as many pixels as allowed is accepted, one more row is not."""
        assert decoded(files.saved(Image.new("L", (10, 10)), "PNG"), 100).size == (10, 10)
        with pytest.raises(ImageRefused, match="at most 100 pixels"):
            decoded(files.saved(Image.new("L", (10, 11)), "PNG"), 100)
