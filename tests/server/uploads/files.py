"""Image files of every kind, as cameras, editors and attackers make them."""

import struct
import zlib
from functools import cache
from io import BytesIO

from PIL import ExifTags, Image, ImageCms

SIGNATURE = b"\x89PNG\r\n\x1a\n"
COMMENT = b"the author's address"


def picture(mode="RGB", size=(8, 6)):
    """Return a picture that no flip or turn leaves as it is."""
    places = ((x, y) for y in range(size[1]) for x in range(size[0]))
    image = Image.new("RGBA", size)
    image.putdata([(40 * x % 256, 50 * y % 256, 7 * x * y % 256, 255 - 20 * x % 200) for x, y in places])
    return image if mode == "RGBA" else image.convert(mode)


def saved(image, kind, **options):
    """Return the bytes of an image file."""
    file = BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def chunk(name, data=b"", crc=None):
    """Return a chunk of a PNG file."""
    checksum = zlib.crc32(name + data) if crc is None else crc
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", checksum)


def header(width, height, depth=8, colour=2):
    """Return a PNG's first chunk."""
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))


def png_of(rows, width, height, depth=8, colour=2, extra=b""):
    """Return a PNG file of raw rows, each with its filter byte; extra: chunks before the rows."""
    data = chunk(b"IDAT", zlib.compress(rows, 9))
    return SIGNATURE + header(width, height, depth, colour) + extra + data + chunk(b"IEND")


def with_chunk(png, name, data):
    """Return a PNG file with one more chunk after its first."""
    start = len(SIGNATURE) + 25
    return png[:start] + chunk(name, data) + png[start:]


def bomb(width=13_000, height=13_000):
    """Return a PNG of 169 megapixels in about 20 KB: one bit a pixel, all black."""
    return png_of(b"\0" * ((width + 7) // 8 + 1) * height, width, height, depth=1, colour=0)


def deep_grey(levels, width):
    """Return a PNG of 16-bit grey."""
    height = len(levels) // width
    rows = [levels[row * width : (row + 1) * width] for row in range(height)]
    raw = b"".join(b"\0" + struct.pack(f">{width}H", *row) for row in rows)
    return png_of(raw, width, height, depth=16, colour=0)


def deep_colour(pixels):
    """Return a PNG of 16-bit colours in one row."""
    raw = b"\0" + b"".join(struct.pack(">3H", *pixel) for pixel in pixels)
    return png_of(raw, len(pixels), 1, depth=16)


def exif(orientation=1, *, gps=True):
    """Return an EXIF block with an orientation, a camera and a place."""
    block = Image.Exif()
    block[ExifTags.Base.Orientation] = orientation
    block[ExifTags.Base.Make] = "Camera of the author"
    if gps:
        block.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitude] = (52.0, 31.0, 12.0)
    return block


def profile():
    """Return a colour profile, without the time at which it was made."""
    made = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return made[:24] + b"\0" * 12 + made[36:]


def animated(kind):
    """Return a file of three frames: red, green, blue."""
    red, *others = [Image.new("RGB", (10, 10), colour) for colour in ("red", "lime", "blue")]
    lossless = {"lossless": True} if kind == "WEBP" else {}
    return saved(red, kind, save_all=True, append_images=others, duration=100, **lossless)


def zip_bytes():
    """Return the end of a polyglot: an empty zip archive with a comment."""
    return b"PK\x05\x06" + b"\0" * 16 + struct.pack("<H", len(COMMENT)) + COMMENT


def webp_declaring(width, height):
    """Return a WebP file that declares a canvas and has no frame of it."""
    sides = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    body = b"VP8X" + struct.pack("<I", 10) + b"\0\0\0\0" + sides + b"ANIM" + struct.pack("<IIH", 6, 0, 0)
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body


@cache
def valid():
    """Return a file of each kind that is accepted, by what it is."""
    rgb, rgba = picture(), picture("RGBA")
    meta = {"exif": exif().tobytes(), "icc_profile": profile()}
    return {
        "PNG": saved(rgb, "PNG"),
        "PNG with transparency": saved(rgba, "PNG"),
        "grey PNG": saved(picture("L"), "PNG"),
        "grey PNG with transparency": saved(picture("LA"), "PNG"),
        "PNG of one bit": saved(picture("1"), "PNG"),
        "PNG with a palette": saved(rgb.quantize(16), "PNG"),
        "PNG with a transparent palette": saved(rgba.quantize(16), "PNG"),
        "PNG with a transparent colour": saved(rgb, "PNG", transparency=(0, 0, 0)),
        "PNG with metadata": saved(rgb, "PNG", **meta),
        "16-bit grey PNG": deep_grey([0, 0x8000, 0xFFFF, 0x00FF], 2),
        "16-bit PNG": deep_colour([(0, 0x8000, 0xFFFF)]),
        "PNG of one pixel": saved(rgb.crop((0, 0, 1, 1)), "PNG"),
        "APNG": animated("PNG"),
        "JPEG": saved(rgb, "JPEG"),
        "grey JPEG": saved(picture("L"), "JPEG"),
        "CMYK JPEG": saved(rgb.convert("CMYK"), "JPEG"),
        "progressive JPEG": saved(picture(size=(40, 30)), "JPEG", progressive=True),
        "JPEG with metadata": saved(rgb, "JPEG", comment=COMMENT, **meta),
        "MPO": saved(rgb, "MPO", save_all=True, append_images=[picture("L")]),
        "WebP": saved(rgb, "WEBP"),
        "lossless WebP": saved(rgba, "WEBP", lossless=True),
        "WebP with metadata": saved(rgba, "WEBP", **meta),
        "animated WebP": animated("WEBP"),
    }


@cache
def refused():
    """Return files that are refused, by what they are, with a word of the reason."""
    png, jpeg, webp = saved(picture(), "PNG"), saved(picture(size=(64, 64)), "JPEG"), saved(picture(), "WEBP")
    text_bomb = b"k\0\0" + zlib.compress(b"a" * (32 * 2**20), 9)
    profile_bomb = b"icc\0\0" + zlib.compress(b"p" * (32 * 2**20), 9)
    return {
        "169 megapixels in 20 KB": (bomb(), "pixels"),
        "huge declared PNG": (SIGNATURE + header(2**31 - 1, 2**31 - 1) + png[33:], "pixels"),
        "huge declared WebP": (webp_declaring(16_384, 16_384), "pixels"),
        "huge declared JPEG": (_declaring(jpeg, 65_500, 65_500), "pixels"),
        "no width": (SIGNATURE + header(0, 5) + png[33:], ""),
        "truncated PNG": (png[: len(png) * 2 // 3], ""),
        "PNG of a signature": (SIGNATURE, ""),
        "PNG without rows": (SIGNATURE + header(5, 5) + chunk(b"IEND"), ""),
        "PNG with a wrong checksum": (SIGNATURE + chunk(b"IHDR", header(8, 6)[8:21], crc=1) + png[33:], ""),
        "PNG with a text bomb": (with_chunk(png, b"zTXt", text_bomb), ""),
        "PNG with a profile bomb": (with_chunk(png, b"iCCP", profile_bomb), ""),
        "truncated JPEG": (jpeg[: len(jpeg) // 2], ""),
        "JPEG of a signature": (jpeg[:4], ""),
        "truncated WebP": (webp[: len(webp) * 2 // 3], ""),
        "GIF": (saved(picture("P"), "GIF"), "JPEG, PNG or WebP"),
        "BMP": (saved(picture(), "BMP"), "JPEG, PNG or WebP"),
        "TIFF": (saved(picture(), "TIFF"), "JPEG, PNG or WebP"),
        "icon": (saved(picture(), "ICO"), "JPEG, PNG or WebP"),
        "AVIF": (b"\0\0\0\x20ftypavif" + b"\0" * 40, "JPEG, PNG or WebP"),
        "SVG": (b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>', "JPEG, PNG"),
        "HTML": (b"<!doctype html><script>alert(1)</script>", "JPEG, PNG or WebP"),
        "PostScript": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "JPEG, PNG or WebP"),
        "zip before the PNG": (zip_bytes() + png, "JPEG, PNG or WebP"),
        "noughts": (b"\0" * 1000, "JPEG, PNG or WebP"),
        "one byte": (b"\x89", "JPEG, PNG or WebP"),
    }


def _declaring(jpeg, width, height):
    """Return a JPEG that declares another size in its frame header."""
    start = jpeg.index(b"\xff\xc0") + 5
    return jpeg[:start] + struct.pack(">HH", height, width) + jpeg[start + 4 :]
