"""What one worker may take up: everything, or what the other kind of worker leaves to it."""

from enum import Enum
from typing import Final

from server.db.unit_of_work import Transaction
from server.failover.breaker import Breaker

LOCAL: Final = "local"
HOSTED: Final = "huggingface"
_MEMORY: Final = 0.8  # of the mean seconds before, for each attempt


class Work(Enum):
    """Which pending generations a worker may claim now."""

    NONE = "none"
    FIRST_TRIES = "first tries"
    PASSED_ON = "passed on"
    ALL = "all"


class Duty:
    """A worker's that is alone with its backend: it takes up everything and passes nothing on."""

    def __init__(self, backend: str) -> None:
        self.backend = backend
        self.seconds_each: float | None = None
        self.trouble: str | None = None

    @property
    def accepts(self) -> bool:
        """Whether it takes up generations, as it tells the others."""
        return True

    def work(self, tx: Transaction) -> Work:
        """Say what it may claim now."""
        del tx
        return Work.ALL

    def passes_on(self, tx: Transaction) -> bool:
        """Say whether what it has failed to draw is left to another backend."""
        del tx
        return False

    def delivered(self, seconds: float) -> None:
        """Note that an attempt went well, and how long it took."""
        before = seconds if self.seconds_each is None else self.seconds_each
        self.seconds_each = _MEMORY * before + (1 - _MEMORY) * seconds
        self.trouble = None

    def failed(self, trouble: str | None = None) -> None:
        """Note that an attempt failed. trouble: why, where that is an operator's to mend."""
        self.trouble = trouble or self.trouble


class LocalDuty(Duty):
    """A local worker's where hosted providers step in: it rests behind a breaker and passes failures on."""

    def __init__(self, breaker: Breaker | None = None) -> None:
        super().__init__(LOCAL)
        self.breaker = breaker or Breaker()

    @property
    def accepts(self) -> bool:
        """Whether its breaker lets it try."""
        return self.breaker.allows()

    def work(self, tx: Transaction) -> Work:
        """Take what no local worker has failed; without a hosted worker, everything: there is nobody else."""
        if not tx.workers.ready(HOSTED):
            return Work.ALL
        return Work.FIRST_TRIES if self.breaker.allows() else Work.NONE

    def passes_on(self, tx: Transaction) -> bool:
        """Pass on if a hosted worker is there to take it."""
        return bool(tx.workers.ready(HOSTED))

    def delivered(self, seconds: float) -> None:
        """Let the breaker know, too."""
        super().delivered(seconds)
        self.breaker.note(success=True)

    def failed(self, trouble: str | None = None) -> None:
        """Let the breaker know, too."""
        super().failed(trouble)
        self.breaker.note(success=False)


class ReserveDuty(Duty):
    """A hosted worker's that steps in: for what was passed on, and for all while local workers lag."""

    def __init__(self, longest_wait_s: float) -> None:
        super().__init__(HOSTED)
        self._longest_wait_s = longest_wait_s

    def work(self, tx: Transaction) -> Work:
        """Take everything if no local worker is ready or the wait for one is too long."""
        if not (depth := tx.generations.depth()):
            return Work.NONE
        wait_s = tx.workers.wait_s(LOCAL, depth)
        if wait_s is None or wait_s > self._longest_wait_s:
            return Work.ALL
        return Work.PASSED_ON if tx.generations.passed_on() else Work.NONE
