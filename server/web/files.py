"""The files of the pages, read once: documents, and what they load from below an address of its own."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Final

from server.errors import NotFound

PLACE: Final = "{assets}"
"""What a document has in place of the address of the others."""

# Litestar adds the charset of texts.
MEDIA_TYPES: Final = {
    ".html": "text/html",
    ".css": "text/css",
    ".js": "text/javascript",
    ".svg": "image/svg+xml",
    ".txt": "text/plain",
}
DIGEST_CHARS: Final = 16


@dataclass(frozen=True)
class File:
    """A file as it is sent."""

    content: bytes
    media_type: str

    @cached_property
    def etag(self) -> str:
        """The content's digest, quoted as HTTP wants it."""
        return f'"{hashlib.sha256(self.content).hexdigest()[:DIGEST_CHARS]}"'


@cache
def assets() -> Mapping[str, File]:
    """Return what the documents load, by its path. Files of other kinds are not served."""
    return {path: file for path, file in _all().items() if not path.endswith(".html")}


@cache
def version() -> str:
    """Return a digest of all assets: one that changes gives all of them another address.

    So browsers may keep them for ever, and never mix modules of two versions.
    """
    digest = hashlib.sha256()
    for path, file in sorted(assets().items()):
        digest.update(f"{path} {file.etag} ".encode())
    return digest.hexdigest()[:DIGEST_CHARS]


@cache
def document(name: str, folder: str) -> File:
    """Return a document, which loads its assets from a folder of the server."""
    file = _all()[name]
    address = f"{folder}/{version()}".encode()
    return File(file.content.replace(PLACE.encode(), address), file.media_type)


def asset(of_version: str, path: str) -> File:
    """Return an asset by its version and path.

    Raises:
        NotFound: there is none.

    """
    found = assets().get(path) if of_version == version() else None
    if found is None:
        raise NotFound("File")
    return found


@cache
def _all() -> Mapping[str, File]:
    return dict(_below(files("server.web") / "assets"))


def _below(folder: Traversable, prefix: str = "") -> Iterator[tuple[str, File]]:
    for entry in folder.iterdir():
        path = prefix + entry.name
        if entry.is_dir():
            yield from _below(entry, f"{path}/")
        elif media_type := MEDIA_TYPES.get("." + entry.name.rpartition(".")[2]):
            yield path, File(entry.read_bytes(), media_type)
