"""The folder of a backup: what is in it, and the digests by which it is known to be whole."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

FORMAT: Final = 1
MANIFEST: Final = "manifest.json"
SUMS: Final = "SHA256SUMS"
TABLES: Final = "tables"
IMAGES: Final = "images"
PARTIAL: Final = ".partial"
"""What a folder's name ends with until the backup is whole."""


@dataclass(frozen=True)
class Manifest:
    """What a backup says about itself.

    revision: of the schema. rows: by table. images: of avatars, whole. lacking: avatars' images of which the
    folder lacked a file or had another one, and those whose users deleted them while the backup was made.
    """

    format: int
    made_at: str
    version: str
    revision: str
    identity: str
    rows: dict[str, int]
    images: int
    lacking: int

    def write(self, folder: Path) -> None:
        """Write the manifest."""
        (folder / MANIFEST).write_text(json.dumps(asdict(self), indent=1) + "\n")

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Read the manifest.

        Raises:
            NoBackup: there is none, or it is of another format.

        """
        try:
            stored = json.loads((folder / MANIFEST).read_text())
            if stored["format"] != FORMAT:
                raise NoBackup(folder, f"its format is {stored['format']}, this program reads {FORMAT}")
            return cls(**stored)
        except FileNotFoundError:
            raise NoBackup(folder, f"it has no {MANIFEST}") from None
        except (ValueError, KeyError, TypeError):
            raise NoBackup(folder, f"its {MANIFEST} cannot be read") from None


class BackupRefused(Exception):
    """A backup is not made, or not restored. Nothing was changed."""


@dataclass
class NoBackup(BackupRefused):
    """The folder is not a whole backup."""

    folder: Path
    cause: str

    def __str__(self) -> str:
        return f"{self.folder} is no backup: {self.cause}"


@dataclass
class BackupDamaged(BackupRefused):
    """A file of the backup is missing, or is not what was written. Nothing was restored."""

    path: Path

    def __str__(self) -> str:
        return f"The backup is damaged: {self.path} is missing or not what was written. Nothing was restored"


@dataclass
class FolderTaken(BackupRefused):
    """The folder for the backup exists."""

    folder: Path

    def __str__(self) -> str:
        return f"{self.folder} exists. A backup is a folder of its own: choose another name, or remove it"


def partial_of(folder: Path) -> Path:
    """Return where a backup is until it is whole."""
    return folder.with_name(folder.name + PARTIAL)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Give an empty folder, which gets its name when the body has ended well and all is on the disk.

    What an interrupted backup left under the partial name is removed by nobody but its owner.

    Raises:
        FolderTaken: there is one of this name, whole or partial.

    """
    partial = partial_of(folder)
    for path in (folder, partial):
        if path.exists():
            raise FolderTaken(path)
    for path in (partial / TABLES, partial / IMAGES):
        path.mkdir(parents=True)
    yield partial
    os.sync()
    partial.rename(folder)


class Writer:
    """Writes the files of a backup, and each digest as soon as it is known: there may be millions."""

    def __init__(self, folder: Path, previous: Path | None) -> None:
        self.folder = folder
        self._previous = previous
        self._sums = (folder / SUMS).open("w")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._sums.close()

    def add(self, path: str) -> None:
        """Record the digest of a file that has been written."""
        self._record(path, _digest_of(self.folder / path))

    def copy(self, path: str, pieces: Iterable[bytes]) -> str:
        """Write a file; return its digest."""
        digest = hashlib.sha256()
        with (self.folder / path).open("wb") as file:
            for piece in pieces:
                digest.update(piece)
                file.write(piece)
        return self._record(path, digest.hexdigest())

    def link(self, path: str) -> str | None:
        """Take a file from the previous backup, without a copy; return its digest, None if it has none."""
        if self._previous is None:
            return None
        try:
            os.link(self._previous / path, self.folder / path)
        except OSError:  # not there, or on another disk
            return None
        return self._record(path, _digest_of(self.folder / path))

    def _record(self, path: str, digest: str) -> str:
        self._sums.write(f"{digest}  {path}\n")  # as `sha256sum --check` reads it
        return digest


def check(folder: Path) -> None:
    """Compare every file of a backup with its digest.

    Raises:
        BackupDamaged: one is missing or differs.

    """
    try:
        with (folder / SUMS).open() as sums:
            for line in sums:
                digest, _, path = line.rstrip("\n").partition("  ")
                if _digest_of(folder / path) != digest:
                    raise BackupDamaged(folder / path)
    except OSError as error:
        raise BackupDamaged(Path(error.filename or folder)) from None


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
