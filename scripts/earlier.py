"""The code of an earlier release, to run beside today's: a new database still serves the old worker."""

import subprocess
import tarfile
from io import BytesIO
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parent.parent

COMMIT: Final = "10b917d7583ee78873f5855c527b8347006da10c"
"""The last commit before revision 0012. After a release its tag takes this place."""

_GIT: Final = ("git", "-c", "safe.directory=*", "-C", str(ROOT))


class CommitMissing(LookupError):
    """This copy of the project does not have the commit."""

    def __str__(self) -> str:
        """Name the commit."""
        return f"this copy of the project does not have the commit {COMMIT[:7]}: clone it in full"


def unpack(folder: Path) -> None:
    """Write the files of the earlier release into a folder.

    Raises:
        CommitMissing: the project was cloned without its history, or is no clone.

    """
    archived = subprocess.run((*_GIT, "archive", COMMIT), check=False, capture_output=True)  # noqa: S603
    if archived.returncode:
        raise CommitMissing
    with tarfile.open(fileobj=BytesIO(archived.stdout)) as tar:
        tar.extractall(folder, filter="data")
