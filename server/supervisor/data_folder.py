"""The data folder: its owner's alone, and locked, so that one `up` runs on it at a time."""

import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from sqlalchemy import make_url

from server.logs import get_log
from server.settings import Settings

log = get_log(__name__)

OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
"""The rights of everybody but the owner: prompts and e-mails are none of theirs."""


class DataFolderHeld(RuntimeError):
    """Another process runs on this data folder."""

    def __init__(self, data_dir: Path, holder: str) -> None:
        super().__init__(f"{data_dir} is in use by the process {holder}. Stop it first, or choose --data-dir")
        self.data_dir = data_dir
        self.holder = holder


@contextmanager
def private_files(settings: Settings) -> Iterator[None]:
    """Make the data folder if there is none, and close it and SQLite's files to all but their owner.

    What this process and its children write while the body runs is readable for this user only.
    """
    before = os.umask(OTHERS)
    try:
        settings.server.data_dir.mkdir(parents=True, exist_ok=True)
        for path in open_to_others(settings):
            _close(path)
        yield
    finally:
        os.umask(before)


def write_private(file: Path, text: str) -> None:
    """Write a file that only this user may read. Renamed when it is whole: nobody reads half of it."""
    aside = file.with_suffix(".new")
    aside.unlink(missing_ok=True)
    aside.touch(mode=0o600)
    aside.write_text(text, "utf-8")
    aside.replace(file)


def open_to_others(settings: Settings) -> list[Path]:
    """Return the data folder and the files of SQLite, as far as others than their owner may use them.

    What is in a closed folder cannot be reached, so it is not looked through.
    """
    paths = [settings.server.data_dir]
    database = make_url(settings.database.url)
    if database.get_backend_name() == "sqlite" and database.database:
        files = [Path(database.database + ending) for ending in ("", "-wal", "-shm")]
        paths += [file for file in files if _is_open(file.parent)]
    return [path for path in paths if _is_open(path)]


@contextmanager
def hold(data_dir: Path) -> Iterator[None]:
    """Lock a data folder while the body runs. The system releases the lock when the process ends.

    Raises:
        DataFolderHeld: another process has it; the message says which.

    """
    data_dir.mkdir(parents=True, exist_ok=True)
    with (data_dir / "up.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.seek(0)
            raise DataFolderHeld(data_dir, file.read().strip() or "unknown") from error
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def _is_open(path: Path) -> bool:
    return path.exists() and bool(path.stat().st_mode & OTHERS)


def _close(path: Path) -> None:
    try:
        path.chmod(stat.S_IMODE(path.stat().st_mode) & ~OTHERS)
    except OSError as error:  # another user's: `doctor` tells
        log.warning("data_folder.open_to_others", path=str(path), cause=type(error).__name__)
    else:
        log.info("data_folder.closed_to_others", path=str(path))
