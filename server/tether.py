"""Ties a child process to its parent: when the parent is gone, however it went, the child stops."""

import os
import signal
import sys
import threading
import time


def tie_to_parent(grace_s: float) -> None:
    """Stop this process once its standard input, a pipe that its parent holds open, ends.

    grace_s: how long the process may take to stop by itself before it is ended.
    """

    def wait() -> None:
        # Read past Python's buffer: a daemon thread must not hold its lock while the interpreter ends.
        while os.read(sys.stdin.fileno(), 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(grace_s)
        os._exit(1)

    threading.Thread(target=wait, name="tether", daemon=True).start()
