"""How the APIs of others spell fields, and the formats of images that their clients ask for."""

from io import BytesIO
from typing import Final

from PIL import Image
from pydantic import ConfigDict

from server.http.bodies import Request, View

BEST: Final = 100
"""The quality of JPEG and WebP, unless the client names another: 0 to 100."""


def _as_it_is(name: str) -> str:
    return name


class PlainRequest(Request):
    """A request body with the names of its fields as they are here, and not in camelCase."""

    model_config = ConfigDict(alias_generator=_as_it_is)


class PlainView(View):
    """An answer body with the names of its fields as they are here."""

    model_config = ConfigDict(alias_generator=_as_it_is)


def encoded(png: bytes, kind: str, quality: int = BEST) -> bytes:
    """Return an image as `png`, byte for byte as it is stored, or as `jpeg` or `webp`."""
    if kind == "png":
        return png
    file = BytesIO()
    with Image.open(BytesIO(png)) as image:
        image.convert("RGB").save(file, kind.upper(), quality=quality)
    return file.getvalue()
