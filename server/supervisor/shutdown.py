"""How a process and its threads end: on a signal, with its parent, or with the body of a `with`."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final

from server.logs import get_log

log = get_log(__name__)

RESTART_PAUSES_S: Final = (0.2, 1.0, 5.0, 15.0)
STEADY_S: Final = 60.0  # after so long, a fault is a new one


def exit_with_parent(grace_s: float) -> None:
    """Stop this process when its standard input ends: a pipe that its parent holds open.

    grace_s: how long the process may take to stop by itself before it is ended.
    """

    def wait() -> None:
        # Read past Python's buffer: a daemon thread must not hold its lock while the interpreter ends.
        while os.read(sys.stdin.fileno(), 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace_s)
        os._exit(1)

    threading.Thread(target=wait, name="exit-with-parent", daemon=True).start()


def stopped_by_signals() -> threading.Event:
    """Return an event that SIGTERM and Ctrl-C set from now on."""
    stopped = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopped.set()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    return stopped


@contextmanager
def in_thread(name: str, run: Callable[[threading.Event], None]) -> Iterator[None]:
    """Run a part of the process in a thread while the body runs; then ask it to stop, and wait.

    No fault ends it for good: see `keep_running`.
    """
    stopped = threading.Event()
    thread = threading.Thread(target=keep_running, args=(name, run, stopped), name=name)
    thread.start()
    try:
        yield
    finally:
        stopped.set()
        thread.join()


def keep_running(name: str, run: Callable[[threading.Event], None], stopped: threading.Event) -> None:
    """Run a part of the process until it ends or is stopped; after a fault, log it and begin again."""
    failures = 0
    while not stopped.is_set():
        began = time.monotonic()
        try:
            run(stopped)
        except Exception:
            log.exception("part.failed", part=name)
        else:
            return
        if time.monotonic() - began > STEADY_S:
            failures = 0
        stopped.wait(RESTART_PAUSES_S[min(failures, len(RESTART_PAUSES_S) - 1)])
        failures += 1
