"""Records each crash point that a process comes to, and kills or stops the process if the harness asks.

Processes and harness share a folder, with the action, `kill` or `stop`, in the files that name it:

    seen/PID         a line for each point that a process met
    visited/DIGEST   there if a process died at this point
    armed/DIGEST     the action for the next process that comes to this point
    unvisited/ROLE   the action for the next process of this role that comes to a point where none died
    taken/DIGEST.PID the action that a process took, whether it was meant for this point or for any
"""

import hashlib
import os
import signal
import sys
from pathlib import Path
from types import FrameType

FOLDER = Path(__file__).resolve().parent.parent
SERVER = f"{os.sep}server{os.sep}"
LAYERS = ("db/", "images/")
"""Whose functions are no use case: they are called by one."""
SHARED = ("http/", "scheduling/wakeups.", "cli/opening.")
"""What many use cases go through: the one that came this way is further up."""

_role = ""
_seen: set[str] = set()
_visited: set[str] = set()


def open_records(role: str) -> None:
    """Begin to record the points of this process."""
    global _role  # noqa: PLW0603  # a process has one role
    _role = role


def digest(point: str) -> str:
    """Return the name of a point's files."""
    return hashlib.sha256(point.encode()).hexdigest()[:20]


def reach(use_case: str, position: str) -> None:
    """Record that this process is at a point, and die or stop there if it is armed."""
    point = f"{_role} | {use_case} | {position}"
    if point not in _seen:
        _seen.add(point)
        _append(FOLDER / "seen" / str(os.getpid()), point)
    name = digest(point)
    taken = FOLDER / "taken" / f"{name}.{os.getpid()}"
    action = _take(FOLDER / "armed" / name, taken)
    if action is None and name not in _visited:
        if (FOLDER / "visited" / name).exists():
            _visited.add(name)
        else:
            action = _take(FOLDER / "unvisited" / _role, taken)
    if action is not None:
        os.kill(os.getpid(), signal.SIGKILL if action == "kill" else signal.SIGSTOP)


def _take(file: Path, taken: Path) -> str | None:
    """Return the action in a file, and take it away; None if there is none."""
    try:
        action = file.read_text("ascii")  # read first: the harness removes what was taken
        file.rename(taken)  # of two processes, one succeeds
    except FileNotFoundError:
        return None
    return action


def use_case(depth: int = 2) -> str:
    """Return the function of the server that the caller acts for, such as `generations/settlement.complete`.

    depth: how many frames up the search begins.
    """
    frames = list(_server_frames(sys._getframe(depth)))  # a traceback's frames
    for name in frames:
        if not name.startswith((*LAYERS, *SHARED)):
            return name
    return frames[-1] if frames else "nobody"


def is_below(folder: str, depth: int = 2) -> bool:
    """Return whether a function of a folder of the server, such as `images/`, calls at this depth."""
    name = next(_server_frames(sys._getframe(depth), only_first=True), "")  # as above
    return name.startswith(folder)


def _server_frames(frame: FrameType | None, *, only_first: bool = False):  # type: ignore[no-untyped-def]
    while frame is not None:
        _, found, path = frame.f_code.co_filename.rpartition(SERVER)
        if found and "site-packages" not in frame.f_code.co_filename:
            name = frame.f_code.co_qualname.replace(".<locals>", "").replace("<lambda>", "lambda")
            yield f"{path.removesuffix('.py')}.{name}"
        if only_first:
            return
        frame = frame.f_back


def _append(path: Path, line: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(descriptor, f"{line}\n".encode())
    finally:
        os.close(descriptor)
