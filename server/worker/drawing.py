"""Draws the attempts of one batch, together or one after another."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

from inference.backend import BatchRow, Phase, Picture, Progress, Report, RowOutcome, picture_of
from inference.errors import DeviceBroken
from server.logs import get_log
from server.worker.attempt import Attempt
from server.worker.context import WorkerContext
from server.worker.step_recorder import recording

log = get_log(__name__)


@dataclass(frozen=True)
class Drawn:
    """An attempt with its picture, to be delivered. seconds: its share of the drawing."""

    attempt: Attempt
    picture: Picture
    seconds: float


class Drawing:
    """Draws on the worker's backend, and settles what fails."""

    def __init__(self, context: WorkerContext) -> None:
        self._context = context

    def draw(self, attempts: Sequence[Attempt]) -> list[Drawn]:
        """Draw a batch; return what was drawn and is still the worker's.

        A batch that fails as a whole is drawn once more, one after another: so one bad row fails alone.

        Raises:
            DeviceBroken: this process can draw no more. The watchdog returns the generations to the queue.

        """
        for attempt in attempts:
            attempt.log_start(len(attempts))
        began = time.monotonic()
        pictures = self._together(attempts) if len(attempts) > 1 else None
        if pictures is None:
            pictures = self._singly(attempts)
        if pictures:
            loaded_s = sum(picture.seconds.get(Phase.LOAD, 0.0) for _, picture in pictures)
            self._context.swaps.record_load(loaded_s)
        share_s = (time.monotonic() - began) / max(1, len(pictures))
        return [Drawn(attempt, picture, share_s) for attempt, picture in pictures]

    def _together(self, attempts: Sequence[Attempt]) -> list[tuple[Attempt, Picture]] | None:
        """Draw all in one batch; None if it failed as a whole, and none of them is settled."""
        try:
            with ExitStack() as stack:
                reports = [stack.enter_context(self._reporting(attempt)) for attempt in attempts]
                outcomes = self._generate(attempts, reports)
        except DeviceBroken:
            raise
        except Exception as error:  # noqa: BLE001 - drawn alone, each row says by itself what is wrong
            log.warning("batch.failed", rows=len(attempts), cause=type(error).__name__)
            return None
        pictures = []
        for attempt, outcome in zip(attempts, outcomes, strict=True):
            with attempt.settling():
                pictures.append((attempt, picture_of(outcome)))
        return pictures

    def _singly(self, attempts: Sequence[Attempt]) -> list[tuple[Attempt, Picture]]:
        """Draw one after another, and keep the leases of all meanwhile."""
        held, pictures = list(attempts), {}
        for attempt in attempts:
            if attempt not in held:
                continue
            held.remove(attempt)
            with attempt.settling(), self._reporting(attempt, held) as report:
                [outcome] = self._generate([attempt], [report])
                pictures[attempt] = picture_of(outcome)
                held.append(attempt)
        return [(attempt, pictures[attempt]) for attempt in held if attempt in pictures]

    def _generate(self, attempts: Sequence[Attempt], reports: Sequence[Report]) -> list[RowOutcome]:
        backend = self._context.backend
        if len(attempts) == 1:
            return [backend.generate(attempts[0].order, reports[0])]
        rows = zip(attempts, reports, strict=True)
        return backend.generate_batch([BatchRow(attempt.order, report) for attempt, report in rows])

    @contextmanager
    def _reporting(self, attempt: Attempt, others: list[Attempt] | None = None) -> Iterator[Report]:
        """Record an attempt's progress and keep its lease, and those of others; those that lose it leave."""
        with recording(self._context.uow, attempt.claim, attempt.order.steps) as record:

            def report(progress: Progress) -> None:
                record(progress)
                if others:
                    others[:] = [other for other in others if other.keeps_lease(progress)]
                self._context.room.check()
                attempt.guard(progress)

            yield report
