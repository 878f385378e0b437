"""From the bytes of an untrusted file to its picture alone.

Only the decoder's processes import this: the file may exploit a library's bug, or take all memory.
"""

from typing import BinaryIO, Final

from PIL import ExifTags, Image, UnidentifiedImageError

from server.uploads.errors import DAMAGED, UNREADABLE, ImageRefused, too_many_pixels

FORMATS: Final = ("PNG", "JPEG", "WEBP")
"""The formats that are tried, by a file's first bytes: neither its name nor its declared type matters."""

_TRANSPOSES: Final = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""What makes a picture upright, by its EXIF orientation. Source: EXIF 2.32, tag 0x0112."""


def decode(file: BinaryIO, max_pixels: int) -> Image.Image:
    """Return the picture of a file: upright, 8 bits a channel, RGB or RGBA, without metadata.

    Of an animation it is the first frame, as in a viewer that shows none; a phone's photograph may also hold
    several frames. Colours are read as sRGB.

    Raises:
        ImageRefused: the file is of another format, damaged or too large.

    """
    try:
        image = _open(file, max_pixels)
        image.load()
        transpose = _transpose_of(image)
        picture = _in_rgb(image)
        if transpose is not None:
            picture = picture.transpose(transpose)
    except ImageRefused:
        raise
    except UnidentifiedImageError as error:
        raise ImageRefused(UNREADABLE) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageRefused(too_many_pixels(max_pixels)) from error
    except Exception as error:  # Pillow's decoders raise whatever a damaged file leads them to
        raise ImageRefused(DAMAGED) from error
    picture.info = {}  # the encoders would copy a colour profile from there
    return picture


def _open(file: BinaryIO, max_pixels: int) -> Image.Image:
    """Read a file's headers, and check its size before any pixel is decoded."""
    image = Image.open(file, formats=FORMATS)
    if image.width * image.height > max_pixels:
        raise ImageRefused(too_many_pixels(max_pixels))
    return image


def _transpose_of(image: Image.Image) -> Image.Transpose | None:
    """Return what makes the picture upright, None if it is or its EXIF block cannot be read."""
    try:
        return _TRANSPOSES.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # noqa: BLE001  # as above; the picture itself was readable
        return None


def _in_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "I;16":
        # Pillow would clip 16 bits to 8; the high byte is what it takes of 16-bit colours, too.
        image = image.point(lambda level: level * (1 / 256)).convert("L")
        image.info.pop("transparency", None)  # a level of 16 bits, which names none of 8
    mode = "RGBA" if image.has_transparency_data else "RGB"
    return image if image.mode == mode else image.convert(mode)
