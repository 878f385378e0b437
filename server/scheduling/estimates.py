"""When a generation will be ready: its place among those that wait, and the seconds that are left.

The place is by the turns of what waits. It does not know the weights of tiers, which pipelines are resident,
which generations only one kind of worker may claim, and who submits next. The seconds assume that all that
waits takes as long as what the workers have drawn last. What they draw now is not counted.
"""

import threading
import time
from bisect import bisect_left
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean
from typing import Final

from server.clock import now
from server.db.unit_of_work import Transaction
from server.entries.repository import Entries
from server.events.repository import Events
from server.events.tables import Kind
from server.generations.queue import PendingQueue
from server.generations.states import Status
from server.generations.tables import Generation
from server.scheduling.claim_policy import HOSTED, LOCAL
from server.scheduling.registry import WorkerRegistry
from server.tallies.repository import COMPLETED, ENDED, STAGE_US, STEPS, Key, Tallies

SNAPSHOT_S: Final = 1.0  # clients poll: a thousand of them cost as much as one
_LOADING: Final = "load"
_STEP: Final = "step"


@dataclass(frozen=True)
class Wait:
    """A generation's place in the queue, 1 for the next, and its seconds to the end; None if nobody draws."""

    position: int
    seconds_left: float | None


@dataclass(frozen=True)
class Progress:
    """How far a generation is that has not ended.

    phase: queued, starting, or a phase of the backend. queue_position: None once it is drawn.
    """

    phase: str
    step: int
    steps: int
    queue_position: int | None
    seconds_left: float | None


@dataclass(frozen=True)
class _Snapshot:
    """What estimates are made from.

    places: of all that waits, in the fair order. drawing_s, step_s: means by the entry's key.
    """

    places: Sequence[tuple[float, datetime]]
    workers: int
    worker_mean_s: float | None
    drawing_s: Mapping[str, float]
    step_s: Mapping[str, float]


class Estimates:
    """Estimates from what was measured here for an entry, before that from the catalogue's range."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._good_until = 0.0
        self._snapshot: _Snapshot | None = None

    def progress(self, tx: Transaction, generation: Generation) -> Progress | None:
        """Return how far a generation is; None if it has ended."""
        steps = generation.order.steps
        if generation.status == Status.PENDING:
            wait = self.wait(tx, generation.entry_key, generation.turn, generation.created_at)
            return Progress("queued", 0, steps, wait.position, wait.seconds_left)
        if generation.status != Status.PROCESSING:
            return None
        phase, step = "starting", 0
        newest = Events(tx).newest_of(generation.id)
        if newest is not None and newest.kind == Kind.STEP:
            phase, step = newest.data["phase"], newest.data["step"]
        left_s = self.left(tx, generation.entry_key, step, steps, generation.started_at)
        return Progress(phase, step, steps, None, left_s)

    def wait(self, tx: Transaction, entry_key: str, turn: float, created_at: datetime) -> Wait:
        """Estimate the wait of a pending generation, its drawing included."""
        known = self._known(tx)
        position = bisect_left(known.places, (turn, created_at)) + 1
        drawing_s = known.drawing_s.get(entry_key)
        if not known.workers or drawing_s is None:
            return Wait(position, None)
        each_s = known.worker_mean_s or drawing_s
        return Wait(position, round((position - 1) * each_s / known.workers + drawing_s, 1))

    def left(
        self, tx: Transaction, entry_key: str, step: int, steps: int, started_at: datetime | None
    ) -> float | None:
        """Estimate the seconds until a generation that is drawn is ready."""
        known = self._known(tx)
        drawing_s = known.drawing_s.get(entry_key)
        if drawing_s is None:
            return None
        if step and steps:
            per_step_s = known.step_s.get(entry_key, drawing_s / steps)
            around_s = max(0.0, drawing_s - per_step_s * steps)  # encoding and decoding
            return round((steps - step) * per_step_s + around_s, 1)
        elapsed_s = (now() - started_at).total_seconds() if started_at else 0.0
        return round(max(0.0, drawing_s - elapsed_s), 1)

    def _known(self, tx: Transaction) -> _Snapshot:
        with self._lock:
            moment = self._clock()
            if self._snapshot is None or moment >= self._good_until:
                self._snapshot = _take(tx)
                # A long queue takes long to count: never more than a twentieth of the time.
                self._good_until = moment + max(SNAPSHOT_S, 20 * (self._clock() - moment))
            return self._snapshot


def _take(tx: Transaction) -> _Snapshot:
    tallies = Tallies(tx).all()
    ready = [*WorkerRegistry(tx).ready(LOCAL), *WorkerRegistry(tx).ready(HOSTED)]
    means = [worker.mean_duration_s for worker in ready if worker.mean_duration_s]
    drawing_s = {}
    step_s = {}
    for entry in Entries(tx).all():
        measured = _drawing_s(tallies, entry.key)
        promised = fmean(entry.processing_range_s) if entry.processing_range_s else None
        if measured or promised:
            drawing_s[entry.key] = measured or promised or 0.0
        if steps := tallies.get((STEPS, entry.key, "")):
            step_s[entry.key] = tallies.get((STAGE_US, entry.key, _STEP), 0) / 1e6 / steps
    return _Snapshot(
        places=PendingQueue(tx).places(),
        workers=len(ready),
        worker_mean_s=fmean(means) if means else None,
        drawing_s=drawing_s,
        step_s=step_s,
    )


def _drawing_s(tallies: Mapping[Key, int], entry_key: str) -> float | None:
    """Return the mean seconds of an entry's images on a resident pipeline; None if none was drawn here."""
    images = tallies.get((ENDED, entry_key, COMPLETED), 0)
    spent_us = sum(
        value
        for (kind, entry, stage), value in tallies.items()
        if kind == STAGE_US and entry == entry_key and stage != _LOADING
    )
    return spent_us / 1e6 / images if images else None
