"""The heartbeat of a worker process: each beat names the time within which the next one must come."""

import math
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

READY: Final = "ready"
IDLE: Final = "idle"
BUSY: Final = "busy"
FAILED: Final = "failed"
SHORTEST_PERIOD_S: Final = 0.5  # far below any timeout


@dataclass(frozen=True)
class Beat:
    """One line of the heartbeat: the worker's state, and how long it may last without another beat.

    cause: a sentence on why the worker ends, if it has failed.
    """

    state: str
    timeout_s: float | None = None
    cause: str | None = None

    def encode(self) -> bytes:
        """Return the beat as a line."""
        cause = " ".join((self.cause or "").split())
        return f"{self.state} {self.timeout_s or ''} {cause}".strip().encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> "Beat":
        """Read a beat from a line."""
        state, _, rest = line.decode().strip().partition(" ")
        if state == FAILED:
            timeout, _, cause = rest.partition(" ")
            return cls(state, float(timeout), cause)
        return cls(state, float(rest) if rest else None)


class Heartbeat:
    """Writes beats to the watchdog's pipe; without a watchdog, to nobody.

    Each thread that works has its own time. A beat names what is left of the one that ends first; when it is
    over, no beat follows, whatever the other threads do.
    """

    def __init__(self, descriptor: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._descriptor = descriptor
        self._clock = clock
        self._lock = threading.Lock()
        self._deadlines: dict[int, float] = {}
        """By which time each thread must beat again. A thread that waits has none."""
        self._last = Beat(IDLE)
        self._last_at = clock()
        self._last_deadline = math.inf

    def ready(self) -> None:
        """Report that the pipeline is resident and work may come."""
        with self._lock:
            self._deadlines.pop(threading.get_ident(), None)
            self._write(Beat(READY), math.inf)

    def idle(self) -> None:
        """Report that this thread waits, for any length of time."""
        with self._lock:
            self._deadlines.pop(threading.get_ident(), None)
            self._tell()

    def busy(self, timeout_s: float) -> None:
        """Report that this thread's next beat will come within a time. If it does not, the worker hangs."""
        with self._lock:
            self._tell(timeout_s)

    def failed(self, cause: str, timeout_s: float) -> None:
        """Report why the worker ends, and that it does so within a time."""
        with self._lock:
            self._write(Beat(FAILED, timeout_s, cause), math.inf)

    def _tell(self, timeout_s: float = math.inf) -> None:
        moment = self._clock()
        if timeout_s < math.inf:
            self._deadlines[threading.get_ident()] = moment + timeout_s
        deadline = min(self._deadlines.values(), default=math.inf)
        if deadline <= moment:
            return  # a thread hangs: the watchdog knows since when
        own = moment + timeout_s
        left_s = timeout_s if deadline == own else round(deadline - moment, 3)
        beat = Beat(IDLE) if deadline == math.inf else Beat(BUSY, left_s)
        # Each beat wakes the watchdog, which takes processor time from drawing on a CPU: skip some.
        steady = deadline == self._last_deadline or abs(deadline - self._last_deadline) < SHORTEST_PERIOD_S
        if beat.state == self._last.state and steady and moment - self._last_at < SHORTEST_PERIOD_S:
            return
        self._last_at = moment
        self._write(beat, deadline)

    def _write(self, beat: Beat, deadline: float) -> None:
        self._last, self._last_deadline = beat, deadline
        if self._descriptor is not None:
            try:
                os.write(self._descriptor, beat.encode())
            except (
                BrokenPipeError
            ):  # the watchdog is gone; exit_with_parent ends this process in its own time
                self._descriptor = None
