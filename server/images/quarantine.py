"""The quarantine: files of images that no avatar owns, kept for a while before they are deleted."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from server.logs import get_log

log = get_log(__name__)

BATCH: Final = 500


@dataclass(frozen=True)
class QuarantinedFile:
    """A file in quarantine, and since when it is there."""

    key: str
    size_bytes: int
    since: datetime


class Quarantine:
    """A folder beside that of the images, on the same disk: a file goes there and back by one rename.

    endings: of the files of one image. The time of a file in quarantine is the time when it came there.
    """

    def __init__(self, images: Path, folder: Path, endings: Iterable[str]) -> None:
        self._images = images
        self._folder = folder
        self._endings = tuple(endings)

    def take(self, keys: Iterable[str]) -> int:
        """Move images aside; return how many are there now. What cannot be moved stays where it is."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        return self._each(keys, self._take)

    def give_back(self, keys: Iterable[str]) -> int:
        """Move images back to where they are read; return how many."""
        self._images.mkdir(mode=0o700, exist_ok=True)
        return self._each(keys, self._give_back)

    def delete(self, keys: Iterable[str]) -> int:
        """Delete images in quarantine for good; return how many."""
        return self._each(keys, self._delete)

    def files(self) -> Iterator[QuarantinedFile]:
        """Yield every file in quarantine."""
        if not self._folder.is_dir():
            return
        with os.scandir(self._folder) as entries:
            for entry in entries:
                try:
                    found = entry.stat(follow_symlinks=False)
                except FileNotFoundError:  # moved back or deleted meanwhile
                    continue
                since = datetime.fromtimestamp(found.st_mtime, UTC)
                yield QuarantinedFile(Path(entry.name).stem, found.st_size, since)

    def batches(self, before: datetime | None = None) -> Iterator[list[str]]:
        """Yield the keys of the images in quarantine, a batch at a time; only those there since before."""
        keys = sorted({file.key for file in self.files() if before is None or file.since < before})
        for first in range(0, len(keys), BATCH):
            yield keys[first : first + BATCH]

    def _take(self, key: str, ending: str) -> None:
        path = self._images / f"{key}.{ending}"
        os.utime(path)  # before the move: after a crash in between the file is young, and is moved later
        path.replace(self._folder / path.name)

    def _give_back(self, key: str, ending: str) -> None:
        (self._folder / f"{key}.{ending}").replace(self._images / f"{key}.{ending}")

    def _delete(self, key: str, ending: str) -> None:
        (self._folder / f"{key}.{ending}").unlink()

    def _each(self, keys: Iterable[str], act: Callable[[str, str], None]) -> int:
        """Do something with all files of each image; return with how many images that went well."""
        done = left = 0
        for key in keys:
            acted = failed = False
            for ending in self._endings:
                try:
                    act(key, ending)
                    acted = True
                except FileNotFoundError:
                    continue
                except OSError:
                    failed = True
            done += acted and not failed
            left += failed
        if left:
            log.warning("images.quarantine_failed", images=left)
        return done
