"""What can go wrong with an uploaded image."""

from dataclasses import dataclass
from typing import Final

from server.errors import DomainError

UNREADABLE: Final = "is not a readable JPEG, PNG or WebP"
DAMAGED: Final = "is damaged"
TOO_SLOW: Final = "takes too long to decode"

NO_ROOM: Final = 74
"""The exit status of a fork that finds no room for the picture. As in sysexits.h: input/output error."""


@dataclass
class ImageRefused(DomainError):
    """The uploaded file cannot be an avatar's image. cause: the rest of a sentence about it."""

    cause: str

    def __str__(self) -> str:
        return f"image {self.cause}"


class DecodersBusy(DomainError):
    """So many uploads are being decoded that this one was not decoded in time."""

    retry_after_s = 5

    def __str__(self) -> str:
        return "Too many uploads are being decoded. Please try again later"


def too_many_pixels(max_pixels: int) -> str:
    """Return the cause of a refusal for the number of pixels."""
    return f"must have at most {max_pixels} pixels, width times height"
