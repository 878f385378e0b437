"""What holds a running generation: deadlines, lease and cancellation, all checked on real progress."""

import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final

from inference.backend import Phase, Progress
from server.clock import now
from server.db.unit_of_work import UnitOfWork
from server.errors import DatabaseAway
from server.generations.store import Claim, LeaseLost
from server.settings import Settings
from server.telemetry import get_log
from server.worker.pulse import Pulse

log = get_log(__name__)

LEASE_CHECK_PERIOD_S: Final = 0.25  # a cancellation is noticed within this and one step


class DeadlinePassed(TimeoutError):
    """The attempt took longer than one may."""

    def __init__(self, limit_s: float) -> None:
        super().__init__(f"It took longer than {limit_s:g} seconds.")
        self.limit_s = limit_s


class StopAsked(Exception):  # not an error: the process was told to stop
    """The worker was told to stop and its grace is over: the generation goes back to the queue."""


class StopSign:
    """Set by the signal handler; tells a running generation when its grace is over."""

    def __init__(self, grace_s: float) -> None:
        self._grace_s = grace_s
        self._asked_at: float | None = None
        self.asked = threading.Event()

    def ask(self) -> None:
        """Ask the worker to stop; the first time counts."""
        if self._asked_at is None:
            self._asked_at = time.monotonic()
        self.asked.set()

    @property
    def overdue(self) -> bool:
        """Whether the grace is over."""
        return self._asked_at is not None and time.monotonic() - self._asked_at > self._grace_s


class Leash:
    """Follows one attempt through its phases. Called at each phase and step; raises to stop it."""

    def __init__(
        self,
        claim: Claim,
        uow: UnitOfWork,
        pulse: Pulse,
        stop_sign: StopSign,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._claim = claim
        self._uow = uow
        self._pulse = pulse
        self._stop_sign = stop_sign
        self._settings = settings
        self._clock = clock
        self._started = clock()
        self._checked = self._started
        self.lease_until = now() + timedelta(seconds=first_lease_s(settings))

    def __call__(self, progress: Progress) -> None:
        """Take note of progress.

        Raises:
            DeadlinePassed: the attempt as a whole takes too long.
            StopAsked: the worker is to stop and its grace is over.
            LeaseLost: the generation was cancelled or is another attempt's.

        """
        timeout_s = self._settings.phase_timeout_s
        if progress.phase is Phase.LOAD:
            timeout_s = self._settings.load_timeout_s
        self.enter(timeout_s)

    def enter(self, timeout_s: float) -> None:
        """Begin what must make progress within a time. Raises as a call does."""
        self._pulse.busy(timeout_s)
        if self._clock() - self._started > self._settings.generation_timeout_s:
            raise DeadlinePassed(self._settings.generation_timeout_s)
        if self._stop_sign.overdue:
            raise StopAsked
        try:
            self._keep_lease(timeout_s)
        except DatabaseAway:
            # The lease is this attempt's until it ends by the clock; the database may be back by then.
            if now() > self.lease_until:
                raise LeaseLost(self._claim) from None
            log.warning("lease.database_away", generation_id=self._claim.generation_id)

    def _keep_lease(self, timeout_s: float) -> None:
        remaining_s = (self.lease_until - now()).total_seconds()
        lease_s = timeout_s + self._settings.lease_margin_s
        # Neither shorter than the phase may last, nor so long that a dead machine's work waits in vain.
        if not timeout_s <= remaining_s <= lease_s + self._settings.lease_margin_s:
            with self._uow.begin() as tx:
                tx.generations.renew(self._claim, lease_s)
            self.lease_until = now() + timedelta(seconds=lease_s)
            self._checked = self._clock()
        elif self._clock() - self._checked >= LEASE_CHECK_PERIOD_S:
            with self._uow.read() as tx:
                tx.generations.check_lease(self._claim)
            self._checked = self._clock()


def first_lease_s(settings: Settings) -> float:
    """Return how long a claim's first lease lasts, in seconds."""
    return settings.phase_timeout_s + settings.lease_margin_s
