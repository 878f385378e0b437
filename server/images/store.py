"""The image store: files with random names in one folder, each owned by one avatar.

obstore is used so that a bucket can replace the folder without a change elsewhere.
"""

import errno
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Final

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError
from obstore.store import LocalStore

from server.errors import DomainError
from server.images.quarantine import Quarantine
from server.logs import get_log

log = get_log(__name__)

PREFIX: Final = "avatars"
QUARANTINE: Final = "quarantine"
OWNER: Final = "owner"
"""The file with the identity of the database that owns the folder."""
UNFINISHED: Final = re.compile(r"[0-9a-f]+\.[a-z]+#[0-9]+")
"""A file that obstore has not written to its end. It renames it then."""
FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
ROOM_BYTES: Final = 200 * 2**20
"""An uploaded image may have more than 100 MB, and so may its copy that is being written."""
PIECE_BYTES: Final = 2**20
"""How much of a file is in memory at a time: an uploaded image may have more than 100 MB."""


class Variant(StrEnum):
    """The files of one image, by their endings."""

    FULL = "png"
    THUMBNAIL = "jpg"

    @property
    def media_type(self) -> str:
        """The Content-Type of the file."""
        return {Variant.FULL: "image/png", Variant.THUMBNAIL: "image/jpeg"}[self]


class StorageFull(DomainError):
    """The disk takes no more files: it is full, over its quota or read-only. Nothing was kept."""

    retry_after_s = 60

    def __str__(self) -> str:
        return "The service cannot store images at the moment. Please try again later"


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
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._store = LocalStore(folder)
        self.quarantine = Quarantine(folder / PREFIX, folder / QUARANTINE, Variant)

    def owner(self) -> str | None:
        """Return the identity of the database that owns the folder; None if no database does yet."""
        try:
            return bytes(obstore.get(self._store, OWNER).bytes()).decode().strip()
        except FileNotFoundError:
            return None

    def give_to(self, identity: str, *, anyway: bool = False) -> bool:
        """Give the folder to a database; return whether it is its own now. anyway: take it from another."""
        try:
            obstore.put(self._store, OWNER, identity.encode(), mode="overwrite" if anyway else "create")
        except AlreadyExistsError:
            return self.owner() == identity
        return True

    def put(self, files: Mapping[Variant, bytes | BinaryIO]) -> StoredImage:
        """Store an image's files under a new random name, flushed to the disk and read back.

        Open files are read from where they stand. If anything is raised, nothing is kept.

        Raises:
            StorageFull: the disk takes no more.
            ImageBroken: a file reads differently from what was written.

        """
        key, digests = secrets.token_hex(16), {}
        try:
            for variant, content in files.items():
                file = BytesIO(content) if isinstance(content, bytes) else content
                digests[variant] = self._write(_path(key, variant), file)
                self._check(key, variant, digests[variant])
        except BaseException as error:
            self.discard([key])
            if _is_full(error):
                raise StorageFull from error
            raise
        return StoredImage(key, digests[Variant.FULL])

    def bring(self, key: str, variant: Variant, file: BinaryIO) -> None:
        """Store a file of an image under the key that it had, as in a backup.

        Raises:
            ImageBroken: it reads differently from what was written.

        """
        self._check(key, variant, self._write(_path(key, variant), file))

    def has_room(self) -> bool:
        """Return whether the disk has room for the largest image."""
        return shutil.disk_usage(self._folder).free >= ROOM_BYTES

    def read(self, key: str, variant: Variant) -> bytes:
        """Return a file of an image.

        Raises:
            FileNotFoundError: there is none.

        """
        return b"".join(self.stream(key, variant)[1])

    def stream(self, key: str, variant: Variant) -> tuple[int, Iterator[bytes]]:
        """Return the size in bytes of a file of an image, and its content a piece at a time.

        Raises:
            FileNotFoundError: there is none.

        """
        found = obstore.get(self._store, _path(key, variant))
        return found.meta["size"], (bytes(piece) for piece in found.stream(PIECE_BYTES))

    def delete(self, key: str) -> None:
        """Delete an image's files, if they exist, those in quarantine as well."""
        for variant in Variant:
            try:
                obstore.delete(self._store, _path(key, variant))
            except FileNotFoundError:
                continue
        self.quarantine.delete([key])

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

    def lacks(self, key: str) -> bool:
        """Return whether a file of an image is missing."""
        return not all((self._folder / _path(key, variant)).exists() for variant in Variant)

    def delete_unfinished(self, before: datetime) -> int:
        """Delete the files that a process began to write before a moment and did not finish."""
        deleted = 0
        for path in (self._folder / PREFIX).glob("*#*"):
            with suppress(OSError):  # finished meanwhile, or for the next time
                if UNFINISHED.fullmatch(path.name) and path.stat().st_mtime < before.timestamp():
                    path.unlink()
                    deleted += 1
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

    def _write(self, path: str, file: BinaryIO) -> str:
        """Write a file and flush it; return its digest."""
        start = file.tell()
        digest = _digest(iter(lambda: file.read(PIECE_BYTES), b""))
        file.seek(start)
        obstore.put(self._store, path, file, chunk_size=PIECE_BYTES, max_concurrency=2)
        self._flush(path)
        return digest

    def _check(self, key: str, variant: Variant, digest: str) -> None:
        if _digest(self.stream(key, variant)[1]) != digest:
            raise ImageBroken(key)

    def _flush(self, path: str) -> None:
        # obstore renames atomically but does not flush: a power cut must not lose an image whose avatar
        # is already committed.
        for flushed in (self._folder / path, (self._folder / path).parent):
            descriptor = os.open(flushed, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _is_full(error: BaseException) -> bool:
    # obstore's errors have the number in their text only.
    return getattr(error, "errno", None) in FULL or any(
        f"(os error {number})" in str(error) for number in FULL
    )


def _path(key: str, variant: Variant) -> str:
    return f"{PREFIX}/{key}.{variant}"


def _digest(pieces: Iterator[bytes]) -> str:
    digest = hashlib.sha256()
    for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()
