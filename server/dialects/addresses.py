"""Where clients fetch the images that a dialect's answer names."""

import base64

from litestar import Request

from server.dialects.formats import encoded
from server.dialects.tickets import STORED, Ticket
from server.http.services import Services
from server.images.store import Variant


def base_of(request: Request) -> str:  # type: ignore[type-arg]  # of any application
    """Return the address of this server, as the client has written it."""
    return str(request.base_url).rstrip("/")


def data_uri(png: bytes, kind: str = "png") -> str:
    """Return an image as an address that holds it."""
    return f"data:image/{kind};base64,{base64.b64encode(encoded(png, kind)).decode()}"


def image_address(services: Services, base: str, image_key: str) -> str:
    """Return the address of an image's PNG."""
    return base + services.links.path(image_key, Variant.FULL)


def addresses_of(services: Services, ticket: Ticket, base: str | None) -> list[str]:
    """Return the address of each image of a request. base: of this server; None: they hold the image.

    An image in another format than it is stored in has no other address.
    """
    keys = [one.image_key for one in ticket.followed if one.image_key is not None]
    if base is not None and ticket.kind == STORED:
        return [image_address(services, base, key) for key in keys]
    return [data_uri(services.images.read(key, Variant.FULL), ticket.kind) for key in keys]
