"""The phases of one generation: reported as they begin, timed until the next."""

import time
from collections.abc import Mapping

from inference.backend import Phase, Progress, Report


class Phases:
    """Reports each phase once and adds up its seconds."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._seconds: dict[Phase, float] = {}
        self._current: Phase | None = None
        self._since = 0.0

    def begin(self, phase: Phase) -> None:
        """Begin a phase, ending the one before. Does nothing if it is the current one."""
        if phase is not self._current:
            self._settle(phase)
            self._report(Progress(phase))

    def begin_steps(self) -> None:
        """Begin the time of the steps; what is reported of this phase is each step's end."""
        self._settle(Phase.STEP)

    def step_ended(self, step: int, steps: int) -> None:
        """Report a finished step, from 1 to steps."""
        self._report(Progress(Phase.STEP, step, steps))

    def seconds(self) -> Mapping[Phase, float]:
        """End the current phase and return what each took."""
        self._settle(None)
        return dict(self._seconds)

    def _settle(self, phase: Phase | None) -> None:
        now = time.perf_counter()
        if self._current is not None:
            self._seconds[self._current] = self._seconds.get(self._current, 0.0) + now - self._since
        self._current, self._since = phase, now
