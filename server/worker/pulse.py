"""The pulse: how a worker tells its watchdog until when it must have made progress."""

import os
from dataclasses import dataclass
from typing import Final

READY: Final = "ready"
IDLE: Final = "idle"
BUSY: Final = "busy"


@dataclass(frozen=True)
class Beat:
    """One line of the pulse: what the worker does, and for how long it may without another beat."""

    state: str
    timeout_s: float | None = None

    def encode(self) -> bytes:
        """Return the beat as a line."""
        return f"{self.state} {self.timeout_s or ''}".strip().encode() + b"\n"

    @classmethod
    def decode(cls, line: bytes) -> "Beat":
        """Read a beat from a line."""
        state, _, timeout = line.decode().strip().partition(" ")
        return cls(state, float(timeout) if timeout else None)


class Pulse:
    """Writes beats to the watchdog's pipe; without a watchdog, to nobody."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor

    def ready(self) -> None:
        """Tell that the pipeline is resident and work may come."""
        self._write(Beat(READY))

    def idle(self) -> None:
        """Tell that nothing is being done, which may last."""
        self._write(Beat(IDLE))

    def busy(self, timeout_s: float) -> None:
        """Tell that the next beat will come within a time, or the worker hangs."""
        self._write(Beat(BUSY, timeout_s))

    def _write(self, beat: Beat) -> None:
        if self._descriptor is not None:
            try:
                os.write(self._descriptor, beat.encode())
            except BrokenPipeError:  # the watchdog is gone; the tether ends this process in its own time
                self._descriptor = None
