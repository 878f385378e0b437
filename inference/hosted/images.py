"""Checks of what a provider sent, each before more memory is spent on it."""

import json
import math
from io import BytesIO
from typing import Any, Final

from PIL import Image, ImageStat

from inference.errors import FLAT_LEVELS
from inference.hosted import errors
from inference.hosted.calls import Call

_FORMATS: Final = ("PNG", "JPEG", "WEBP")
_MAX_JSON_PARTS: Final = 100_000
"""Objects, lists and separators in a response. Each may take a hundred bytes, and a provider sends tens."""


def parse_json(provider: str, body: bytes) -> dict[str, Any]:
    """Return the JSON object of a response. It may hold an image as text, but not millions of values.

    Raises:
        ResponseRefused: it has too many values.
        ResponseBroken: it is no JSON object.

    """
    if sum(body.count(part) for part in (b"[", b"{", b",")) > _MAX_JSON_PARTS:
        raise errors.ResponseRefused(provider, "sent a response of too many values")
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise errors.ResponseBroken(provider, "sent an unreadable response") from error
    if not isinstance(content, dict):
        raise errors.ResponseBroken(provider, "sent an unreadable response")
    return content


def check_filter(provider: str, response: dict[str, Any]) -> None:
    """Check the flags in a response.

    Raises:
        ContentRefused: the provider's filter refused the image.

    """
    if any(response.get("has_nsfw_concepts") or ()):
        raise errors.ContentRefused(provider, "refused the content")


def open_image(call: Call, body: bytes) -> Image.Image:
    """Decode an image. Its pixels are decoded only if there are as many as were ordered.

    Raises:
        ResponseRefused: it has more pixels than were ordered.
        ImageBroken: it has another size.
        OSError: the bytes are no image of a known format.

    """
    too_many = errors.ResponseRefused(call.provider, "sent an image of more pixels than were ordered")
    try:
        image = Image.open(BytesIO(body), formats=_FORMATS)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise too_many from None
    width_px, height_px = image.size
    if width_px * height_px > math.prod(call.drawn_px):
        raise too_many
    if image.size != call.drawn_px:
        raise errors.ImageBroken(
            call.provider,
            f"sent {width_px}x{height_px} px instead of {call.drawn_px[0]}x{call.drawn_px[1]} px",
        )
    image.load()
    return image


def check_pixels(provider: str, image: Image.Image) -> Image.Image:
    """Return the image in RGB if it is not flat.

    Raises:
        ContentRefused: it has one uniform colour.

    """
    image = image.convert("RGB")
    if max(ImageStat.Stat(image).stddev) < FLAT_LEVELS:
        raise errors.ContentRefused(
            provider, "sent an image of one uniform colour, as when its filter refuses the content"
        )
    return image
