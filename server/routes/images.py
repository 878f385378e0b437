"""Serves images by their signed paths."""

from typing import Final

from litestar import get
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath
from litestar.response import Stream

from server.errors import NotFound
from server.http.services import Services
from server.images.links import ROUTE

# The bytes behind a path never change, so browsers may cache them without limit.
HEADERS: Final = {
    "Cache-Control": "public, max-age=31536000, immutable",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "cross-origin",
}

_FILE: Final = ResponseSpec(
    bytes,
    media_type="image/png, image/jpeg",
    generate_examples=False,
    description="A PNG, or a JPEG as thumbnail.",
)


@get(
    f"{ROUTE}/{{name:str}}",
    public=True,
    rate_limit="exempt",
    sync_to_thread=True,
    responses={200: _FILE},
)
def read_image(name: FromPath[str], services: NamedDependency[Services]) -> Stream:
    """Return an image's file, a piece at a time: an uploaded one may have more than 100 MB."""
    found = services.links.open(name)
    if found is None:
        raise NotFound("Image")
    key, variant = found
    try:
        size_bytes, content = services.images.stream(key, variant)
    except FileNotFoundError as error:
        raise NotFound("Image") from error
    return Stream(
        content, media_type=variant.media_type, headers={**HEADERS, "Content-Length": str(size_bytes)}
    )
