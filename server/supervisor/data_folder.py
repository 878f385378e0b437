"""A lock on the data folder: one `up` at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class DataFolderHeld(RuntimeError):
    """Another process runs on this data folder."""

    def __init__(self, data_dir: Path, holder: str) -> None:
        super().__init__(f"{data_dir} is in use by the process {holder}. Stop it first, or choose --data-dir")
        self.data_dir = data_dir
        self.holder = holder


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
