"""The heartbeat of a worker process: each beat names the time within which the next one must come."""

import os
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
    """Writes beats to the watchdog's pipe; without a watchdog, to nobody."""

    def __init__(self, descriptor: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._descriptor = descriptor
        self._clock = clock
        self._last = Beat(IDLE)
        self._last_at = clock()

    def ready(self) -> None:
        """Report that the pipeline is resident and work may come."""
        self._write(Beat(READY))

    def idle(self) -> None:
        """Report that the worker waits, for any length of time."""
        self._write(Beat(IDLE))

    def busy(self, timeout_s: float) -> None:
        """Report that the next beat will come within a time. If it does not, the worker hangs."""
        self._write(Beat(BUSY, timeout_s))

    def failed(self, cause: str, timeout_s: float) -> None:
        """Report why the worker ends, and that it does so within a time."""
        self._write(Beat(FAILED, timeout_s, cause))

    def _write(self, beat: Beat) -> None:
        # Each beat wakes the watchdog, which takes processor time from drawing on a CPU: skip some.
        moment = self._clock()
        if beat == self._last and moment - self._last_at < SHORTEST_PERIOD_S:
            return
        self._last, self._last_at = beat, moment
        if self._descriptor is not None:
            try:
                os.write(self._descriptor, beat.encode())
            except (
                BrokenPipeError
            ):  # the watchdog is gone; exit_with_parent ends this process in its own time
                self._descriptor = None
