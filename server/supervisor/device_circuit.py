"""The circuit of a device: after failures that no new process mends, workers are started more rarely."""

import time
from collections import deque
from collections.abc import Callable
from typing import Final

DEATHS: Final = 3
WINDOW_S: Final = 600.0
PAUSE_S: Final = 60.0
"""Long enough for an operator to read why, short enough for a device that is reset to be used soon."""


class DeviceCircuit:
    """Closed while workers live; open while three of them died of their device within ten minutes."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._deaths: deque[float] = deque(maxlen=DEATHS)

    def record(self) -> None:
        """Record that a worker died of its device."""
        self._deaths.append(self._clock())

    def pause_s(self) -> float:
        """Return how long to wait before the next try: 0 if the circuit is closed."""
        is_open = len(self._deaths) == DEATHS and self._clock() - self._deaths[0] < WINDOW_S
        return PAUSE_S if is_open else 0.0
