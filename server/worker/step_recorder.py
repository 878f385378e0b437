"""Records how far an attempt is, in a thread of its own: drawing never waits for the database."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from threading import Event
from typing import Final

from inference.backend import Phase, Progress, Report
from server.db.unit_of_work import UnitOfWork
from server.errors import DatabaseAway
from server.generations.claims import Claim, LeaseLost
from server.generations.steps import record_step
from server.supervisor.shutdown import in_thread

PERIOD_S: Final = 1.0  # FLUX.1 draws 30 steps in 1 to 10 s: each step as an event would be 30 commits


class _Latest:
    """What the backend has reported last."""

    def __init__(self) -> None:
        self.progress: Progress | None = None

    def __call__(self, progress: Progress) -> None:
        self.progress = progress


@contextmanager
def recording(uow: UnitOfWork, claim: Claim, steps: int, period_s: float = PERIOD_S) -> Iterator[Report]:
    """Record once in a period what is reported to the yielded function, if it has changed.

    steps: of the order; phases without steps report none. An attempt shorter than the period records nothing.
    """
    latest = _Latest()
    with in_thread("steps", partial(_record, uow, claim, steps, latest, period_s)):
        yield latest


def _record(
    uow: UnitOfWork, claim: Claim, steps: int, latest: _Latest, period_s: float, stopped: Event
) -> None:
    recorded = None
    while not stopped.wait(period_s):
        progress = latest.progress
        if progress is None or progress == recorded:
            continue
        total = progress.steps or steps
        done = total if progress.phase is Phase.DECODE else progress.step
        # A step that cannot be recorded is not worth a retry: the next one tells more. The guard stops the
        # attempt when its lease is lost.
        with suppress(DatabaseAway, LeaseLost):
            record_step(uow, claim, progress.phase.value, done, total)
            recorded = progress
