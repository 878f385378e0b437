"""From a picture to the files of an image."""

from io import BytesIO
from typing import Final

from PIL import Image, ImageOps

from server.images.store import Variant

THUMBNAIL_PX: Final = 300  # Source: the contract, section 3
THUMBNAIL_QUALITY: Final = 88


def encode(image: Image.Image) -> dict[Variant, bytes]:
    """Return an image's files: the PNG, and a thumbnail of its centre as JPEG."""
    full, thumbnail = BytesIO(), BytesIO()
    image.save(full, "PNG")
    square = ImageOps.fit(image.convert("RGB"), (THUMBNAIL_PX, THUMBNAIL_PX))
    square.save(thumbnail, "JPEG", quality=THUMBNAIL_QUALITY)
    return {Variant.FULL: full.getvalue(), Variant.THUMBNAIL: thumbnail.getvalue()}
