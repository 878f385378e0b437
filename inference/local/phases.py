"""The phases of one generation: each is reported when it begins and timed until the next begins."""

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
        """Begin a phase and end the previous one. Does nothing if the phase is current already."""
        if phase is not self._current:
            self._switch_to(phase)
            self._report(Progress(phase))

    def begin_steps(self) -> None:
        """Begin the steps without a report: `step_ended` reports each step instead."""
        self._switch_to(Phase.STEP)

    def step_ended(self, step: int, steps: int) -> None:
        """Report a finished step (1 to steps)."""
        self._report(Progress(Phase.STEP, step, steps))

    def seconds(self) -> Mapping[Phase, float]:
        """End the current phase and return the seconds of each phase."""
        self._switch_to(None)
        return dict(self._seconds)

    def _switch_to(self, phase: Phase | None) -> None:
        now = time.perf_counter()
        if self._current is not None:
            self._seconds[self._current] = self._seconds.get(self._current, 0.0) + now - self._since
        self._current, self._since = phase, now
