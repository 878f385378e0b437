"""The circuit breaker of a local worker: after failures in a row it pauses, then tries once."""

import time
from collections.abc import Callable
from typing import Final

FAILURES: Final = 3
"""In a row: one failure may be the entry's fault, three are the device's."""

COOL_DOWN_S: Final = 30.0


class Breaker:
    """Closed while attempts succeed, open after failures in a row, half-open after the cool-down."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._failures = 0
        self._opened_at: float | None = None

    @property
    def closed(self) -> bool:
        """Whether attempts are expected to succeed."""
        return self._opened_at is None

    def allows(self) -> bool:
        """Return whether an attempt may be made: when closed, and when half-open."""
        return self._opened_at is None or self._clock() - self._opened_at >= COOL_DOWN_S

    def record(self, *, success: bool) -> None:
        """Record the outcome of an attempt: a success closes it; when half-open, a failure opens it again."""
        if success:
            self._failures, self._opened_at = 0, None
            return
        self._failures += 1
        if self._failures >= FAILURES:
            self._opened_at = self._clock()
