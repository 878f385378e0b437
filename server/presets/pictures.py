"""The presets' pictures: files of the catalogue, and the paths under which a browser opens them."""

import hashlib
from collections.abc import Mapping
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Final

from catalog.presets import shipped_presets
from server.errors import NotFound
from server.images.links import ROUTE

FOLDER: Final = f"{ROUTE}/presets"
DIGEST_CHARS: Final = 16
"""Of the content's digest in a path: browsers keep a picture, so one drawn anew needs another path."""


class Variant(StrEnum):
    """The files of one picture, each a JPEG."""

    FULL = "full"
    THUMBNAIL = "thumbnail"


@cache
def path(preset_id: str, variant: Variant) -> str:
    """Return the path of a preset's picture."""
    stem = f"{preset_id}-{variant}"
    digest = hashlib.sha256(_content(stem)).hexdigest()[:DIGEST_CHARS]
    return f"{FOLDER}/{stem}-{digest}.jpg"


def read(name: str) -> bytes:
    """Return the file behind a path's last part.

    Raises:
        NotFound: there is none.

    """
    stem = _stems().get(name)
    if stem is None:
        raise NotFound("Image")
    return _content(stem)


@cache
def _stems() -> Mapping[str, str]:
    """Return the names of all files without endings, by the last parts of their paths."""
    return {
        path(preset_id, variant).removeprefix(f"{FOLDER}/"): f"{preset_id}-{variant}"
        for preset_id in shipped_presets()
        for variant in Variant
    }


@cache  # all of them take less than two megabytes
def _content(stem: str) -> bytes:
    return files("catalog").joinpath("pictures", f"{stem}.jpg").read_bytes()
