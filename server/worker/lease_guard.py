"""The lease guard of a running attempt: checks deadlines, lease and cancellation at each step."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from inference.backend import Phase, Progress
from server.clock import now
from server.db.unit_of_work import UnitOfWork
from server.errors import DatabaseAway
from server.generations.claims import Claim, LeaseLost
from server.generations.repository import Generations
from server.logs import get_log
from server.settings import Settings
from server.supervisor.heartbeat import Heartbeat

log = get_log(__name__)

LEASE_CHECK_PERIOD_S: Final = 0.25  # a cancellation is noticed within this time and one step

SAME_SIGNAL_S: Final = 1.0
"""Process managers signal a whole group: what comes within this time is one request. Source: RQ."""


class DeadlinePassed(TimeoutError):
    """The attempt took longer than allowed."""

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"It took longer than {limit_s:g} seconds.")
        self.limit_s = limit_s


class GraceOver(Exception):  # not an error: the process has to stop
    """The worker has to stop and its grace is over: the generation goes back to the queue."""


class StopRequest:
    """A request to stop the worker, and how long a running generation may still go on."""

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._received_at: float | None = None
        self.received = threading.Event()

    def receive(self) -> None:
        """Record that the worker has to stop. The grace begins with the first call."""
        if self._received_at is None:
            self._received_at = time.monotonic()
        self.received.set()

    def is_repeated(self) -> bool:
        """Return whether another signal would be a second request, and not the same one again."""
        return self._received_at is not None and time.monotonic() - self._received_at > SAME_SIGNAL_S

    @property
    def overdue(self) -> bool:
        """Whether the grace is over."""
        return self._received_at is not None and time.monotonic() - self._received_at > self._grace_s


class LeaseGuard:
    """Guards one attempt. The backend calls it at each phase and step; it raises to stop the attempt."""

    def __init__(
        self,
        claim: Claim,
        uow: UnitOfWork,
        heartbeat: Heartbeat,
        stop: StopRequest,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._claim = claim
        self._uow = uow
        self._heartbeat = heartbeat
        self._stop = stop
        self._settings = settings
        self._clock = clock
        self._started = clock()
        self._checked = self._started
        self.lease_until = now() + timedelta(seconds=first_lease_s(settings))

    def __call__(self, progress: Progress) -> None:
        """Record progress.

        Raises:
            DeadlinePassed: the attempt as a whole takes too long.
            GraceOver: the worker has to stop and its grace is over.
            LeaseLost: the generation was cancelled or is another attempt's.

        """
        timeout_s = self._settings.worker.phase_timeout_s
        if progress.phase is Phase.LOAD:
            timeout_s = self._settings.worker.load_timeout_s
        self.enter(timeout_s)

    def enter(self, timeout_s: float) -> None:
        """Begin something that must make progress within a time. Raises what a call raises."""
        self._heartbeat.busy(timeout_s)
        if self._clock() - self._started > self._settings.worker.generation_timeout_s:
            raise DeadlinePassed(self._settings.worker.generation_timeout_s)
        if self._stop.overdue:
            raise GraceOver
        try:
            self._keep_lease(timeout_s)
        except DatabaseAway:
            # The lease is still this attempt's until it runs out; the database may be back by then.
            if now() > self.lease_until:
                raise LeaseLost(self._claim) from None
            log.warning("lease.database_away", generation_id=self._claim.generation_id)

    def _keep_lease(self, timeout_s: float) -> None:
        remaining_s = (self.lease_until - now()).total_seconds()
        lease_s = timeout_s + self._settings.worker.lease_margin_s
        # At least as long as the phase may last, and not much longer: a dead machine's work waits for it.
        if not timeout_s <= remaining_s <= lease_s + self._settings.worker.lease_margin_s:
            with self._uow.begin() as tx:
                Generations(tx).renew(self._claim, lease_s)
            self.lease_until = now() + timedelta(seconds=lease_s)
            self._checked = self._clock()
        elif self._clock() - self._checked >= LEASE_CHECK_PERIOD_S:
            with self._uow.read() as tx:
                Generations(tx).check_lease(self._claim)
            self._checked = self._clock()


def first_lease_s(settings: Settings) -> float:
    """Return how long a claim's first lease lasts, in seconds."""
    return settings.worker.phase_timeout_s + settings.worker.lease_margin_s
