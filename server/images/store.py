"""The image store: files with random names in one folder, each owned by one avatar.

obstore is used so that a bucket can replace the folder without a change elsewhere.
"""

import hashlib
import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Final

import obstore
from obstore.exceptions import BaseError
from obstore.store import LocalStore

from server.logs import get_log

log = get_log(__name__)

PREFIX: Final = "avatars"


class Variant(StrEnum):
    """The files of one image, by their endings."""

    FULL = "png"
    THUMBNAIL = "jpg"

    @property
    def media_type(self) -> str:
        """The Content-Type of the file."""
        return {Variant.FULL: "image/png", Variant.THUMBNAIL: "image/jpeg"}[self]


class ImageBroken(OSError):
    """What was read back from the store is not what was written."""

    def __init__(self, key: str) -> None:
        super().__init__(f"image {key} was not stored as it was written")
        self.key = key


@dataclass(frozen=True)
class StoredImage:
    """An image that was written, read back and found intact."""

    key: str
    sha256: str


class ImageStore:
    """Keeps images on the local disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._store = LocalStore(folder)

    def put(self, files: dict[Variant, bytes]) -> StoredImage:
        """Store an image's files under a new random name, flushed to the disk and read back.

        Raises:
            ImageBroken: a file reads differently from what was written.

        """
        key = secrets.token_hex(16)
        for variant, content in files.items():
            obstore.put(self._store, _path(key, variant), content)
            self._flush(_path(key, variant))
            if self.read(key, variant) != content:
                raise ImageBroken(key)
        return StoredImage(key, hashlib.sha256(files[Variant.FULL]).hexdigest())

    def read(self, key: str, variant: Variant) -> bytes:
        """Return a file of an image.

        Raises:
            FileNotFoundError: there is none.

        """
        return bytes(obstore.get(self._store, _path(key, variant)).bytes())

    def delete(self, key: str) -> None:
        """Delete an image's files, if they exist."""
        for variant in Variant:
            try:
                obstore.delete(self._store, _path(key, variant))
            except FileNotFoundError:
                continue

    def discard(self, keys: Iterable[str]) -> int:
        """Delete the files of images that no avatar owns; return how many of these images are gone.

        It never raises: the reaper tries again with what could not be deleted.
        """
        deleted = left = 0
        for key in keys:
            try:
                self.delete(key)
                deleted += 1
            except (OSError, BaseError):
                left += 1
        if left:
            log.warning("images.not_deleted", images=left)
        return deleted

    def older_than(self, moment: datetime) -> Iterator[list[str]]:
        """Yield the keys of all images written before a moment, a batch at a time."""
        for batch in obstore.list(self._store, PREFIX, chunk_size=500):
            yield sorted(
                {
                    Path(found["path"]).stem
                    for found in batch
                    if found["last_modified"].astimezone(UTC) < moment
                }
            )

    def _flush(self, path: str) -> None:
        # obstore renames atomically but does not flush: a power cut must not lose an image whose avatar
        # is already committed.
        for flushed in (self._folder / path, (self._folder / path).parent):
            descriptor = os.open(flushed, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _path(key: str, variant: Variant) -> str:
    return f"{PREFIX}/{key}.{variant}"
