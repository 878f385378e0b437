"""What one worker may claim: everything, or what the other kind of worker leaves to it."""

from enum import Enum
from typing import Final

from server.db.unit_of_work import Transaction
from server.generations.queue import PendingQueue
from server.scheduling.breaker import Breaker
from server.scheduling.registry import WorkerRegistry
from server.spending.repository import BudgetSpent, Spending

LOCAL: Final = "local"
HOSTED: Final = "huggingface"
_SMOOTHING: Final = 0.8  # the weight of the mean so far, against each new duration


class Claimable(Enum):
    """Which pending generations a worker may claim now."""

    NONE = "none"
    FIRST_TRIES = "first tries"
    FAILED_OVER = "failed over"
    ALL = "all"


class ClaimPolicy:
    """Policy of a worker that is alone with its backend: it claims everything and nothing fails over."""

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self.mean_duration_s: float | None = None
        self.last_error: str | None = None

    @property
    def accepts(self) -> bool:
        """Whether the worker takes generations, as its heartbeat says."""
        return True

    def claimable(self, tx: Transaction) -> Claimable:
        """Return what the worker may claim now."""
        del tx
        return Claimable.ALL

    def fails_over(self, tx: Transaction) -> bool:
        """Return whether what the worker has failed to draw is left to another backend."""
        del tx
        return False

    def record_success(self, duration_s: float) -> None:
        """Record that an attempt went well, and how long it took."""
        mean_s = duration_s if self.mean_duration_s is None else self.mean_duration_s
        self.mean_duration_s = _SMOOTHING * mean_s + (1 - _SMOOTHING) * duration_s
        self.last_error = None

    def record_failure(self, last_error: str | None = None) -> None:
        """Record that an attempt failed. last_error: why, if an operator has to act on it."""
        self.last_error = last_error or self.last_error


class LocalPolicy(ClaimPolicy):
    """Policy of a local worker with a hosted fallback: a circuit breaker passes its failures on.

    budget_microusd: what the fallback may spend in a day; when that is spent, it is as if it were not there.
    """

    def __init__(self, breaker: Breaker | None = None, budget_microusd: int | None = None) -> None:
        super().__init__(LOCAL)
        self.breaker = breaker or Breaker()
        self._budget_microusd = budget_microusd

    @property
    def accepts(self) -> bool:
        """Whether the circuit breaker lets the worker try."""
        return self.breaker.allows()

    def claimable(self, tx: Transaction) -> Claimable:
        """Claim what no local worker has failed; everything, if there is no hosted worker to take it."""
        if not self._reserve_draws(tx):
            return Claimable.ALL
        return Claimable.FIRST_TRIES if self.breaker.allows() else Claimable.NONE

    def fails_over(self, tx: Transaction) -> bool:
        """Return whether a hosted worker is there to take it, and may."""
        return self._reserve_draws(tx)

    def _reserve_draws(self, tx: Transaction) -> bool:
        try:
            Spending(tx).check(self._budget_microusd)
        except BudgetSpent:
            return False
        return bool(WorkerRegistry(tx).ready(HOSTED))

    def record_success(self, duration_s: float) -> None:
        """Record it with the circuit breaker, too."""
        super().record_success(duration_s)
        self.breaker.record(success=True)

    def record_failure(self, last_error: str | None = None) -> None:
        """Record it with the circuit breaker, too."""
        super().record_failure(last_error)
        self.breaker.record(success=False)


class ReservePolicy(ClaimPolicy):
    """Policy of a hosted worker in reserve: it claims what failed over; while local ones lag, everything."""

    def __init__(self, longest_wait_s: float) -> None:
        super().__init__(HOSTED)
        self._longest_wait_s = longest_wait_s

    def claimable(self, tx: Transaction) -> Claimable:
        """Claim everything if no local worker is ready or the wait for one is too long."""
        if not (depth := PendingQueue(tx).depth()):
            return Claimable.NONE
        wait_s = WorkerRegistry(tx).estimated_wait_s(LOCAL, depth)
        if wait_s is None or wait_s > self._longest_wait_s:
            return Claimable.ALL
        return Claimable.FAILED_OVER if PendingQueue(tx).heads(failed_over=True) else Claimable.NONE
