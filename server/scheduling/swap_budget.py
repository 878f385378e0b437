"""How often a worker may change its resident pipeline, and for how long that may pass others over.

Kept in the worker's memory, since only it knows what its swaps cost. It begins anew with the process.
"""

import time
from collections import deque
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final

WINDOW_S: Final = 600.0
SHARE: Final = 0.1
"""The part of the last WINDOW_S that may go into swaps while the resident pipeline still has work."""
MOST_SWAPS_PAST: Final = 3
MOST_S_PAST: Final = 60.0
"""Nobody is passed over by a fourth swap after so many seconds."""
FIRST_SWAP_S: Final = 30.0
"""What a swap is taken to cost before one was measured: FLUX.1-dev, 34 GB, at about 1 GB a second."""


@dataclass
class _Passed:
    """A model whose turn it was. since: by the clock. swaps: to other models, since then."""

    since: float
    swaps: int = 0


class SwapBudget:
    """Counts the swaps of one worker."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._began = clock()
        self._swaps: deque[tuple[float, float]] = deque()
        """When each swap of the window ended, and its seconds."""
        self._expected_s = FIRST_SWAP_S
        self._swapping = False
        self._passed: dict[str, _Passed] = {}

    def allows(self) -> bool:
        """Return whether one more swap keeps within SHARE of the window."""
        moment = self._clock()
        window_s = min(WINDOW_S, moment - self._began)
        while self._swaps and self._swaps[0][0] <= moment - WINDOW_S:
            self._swaps.popleft()
        spent_s = sum(min(spent_s, ended - moment + WINDOW_S) for ended, spent_s in self._swaps)
        return spent_s + self._expected_s <= SHARE * window_s

    def overdue(self) -> str | None:
        """Return the model that no further swap may pass over; None if there is none."""
        latest = self._clock() - MOST_S_PAST
        due = [
            (passed.since, model_id)
            for model_id, passed in self._passed.items()
            if passed.swaps >= MOST_SWAPS_PAST and passed.since <= latest
        ]
        return min(due)[1] if due else None

    def record_claim(
        self, model_id: str, in_turn: str, waiting: Collection[str], resident: Collection[str]
    ) -> None:
        """Record which model was claimed and whose turn it was, of those that waited."""
        self._swapping = bool(resident) and model_id not in resident
        passed = {
            model: past for model, past in self._passed.items() if model in waiting and model != model_id
        }
        if self._swapping:
            for past in passed.values():
                past.swaps += 1
        if in_turn != model_id:
            passed.setdefault(in_turn, _Passed(self._clock()))
        self._passed = passed

    def record_load(self, seconds: float) -> None:
        """Record how long the pipeline of the last claim was loaded, if that was a swap."""
        if self._swapping and seconds:
            self._swaps.append((self._clock(), seconds))
            self._expected_s = seconds
        self._swapping = False
