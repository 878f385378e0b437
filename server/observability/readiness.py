"""Whether the process can serve, and if not, why."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from server.db.migrate import missing_revision
from server.db.unit_of_work import Transaction, UnitOfWork
from server.entries.repository import Entries
from server.errors import DatabaseAway
from server.images.store import ImageStore
from server.scheduling.claim_policy import HOSTED, LOCAL
from server.scheduling.registry import WorkerRegistry
from server.scheduling.wakeups import WakeUps
from server.settings import Settings
from server.spending.repository import BudgetSpent, Spending

SHARED_S: Final = 1.0


@dataclass(frozen=True)
class Readiness:
    """Whether generations are accepted, and a sentence on each part: `ok` if it is well."""

    accepts: bool
    checks: dict[str, str]

    @property
    def status(self) -> str:
        """One word: `ok`, `degraded` if generations are accepted all the same, else `unavailable`."""
        if not self.accepts:
            return "unavailable"
        return "ok" if all(sentence == "ok" for sentence in self.checks.values()) else "degraded"


class SharedReadiness:
    """The readiness as it was a second ago at most, for questions that anybody may ask as often as they like.

    While one thread checks, the others get what was found before.
    """

    def __init__(self, check: Callable[[], Readiness], clock: Callable[[], float] = time.monotonic) -> None:
        self._check = check
        self._clock = clock
        self._lock = threading.Lock()
        self._found: tuple[float, Readiness] | None = None

    def get(self) -> Readiness:
        """Return what was found a second ago at most; before the first time, wait for it."""
        if (found := self._recent()) is not None:
            return found
        if not self._lock.acquire(blocking=self._found is None) and self._found is not None:
            return self._found[1]
        try:
            if (found := self._recent()) is None:
                found = self._check()
                self._found = self._clock(), found
            return found
        finally:
            self._lock.release()

    def _recent(self) -> Readiness | None:
        if self._found is None or self._clock() - self._found[0] > SHARED_S:
            return None
        return self._found[1]


def readiness(uow: UnitOfWork, wakeups: WakeUps, images: ImageStore, settings: Settings) -> Readiness:
    """Check the parts that serving needs.

    Generations are accepted without Redis: workers find them in the database.
    """
    checks = {"database": "ok", "catalogue": "ok", "workers": "ok", "redis": "ok", "storage": "ok"}
    accepts = False
    try:
        with uow.read() as tx:
            checks |= _database(tx)
            entries, malformed = Entries(tx).examined()
            checks |= _hosted(tx, settings)
        accepts = any(entry.enabled for entry in entries)
        if malformed:
            checks["catalogue"] = ". ".join(str(error) for error in malformed)
        elif not accepts:
            checks["catalogue"] = "No entry is enabled. Run 'avatar-creator seed'"
    except DatabaseAway:
        checks["database"] = checks["catalogue"] = "The database does not answer, or is not migrated"
    if not wakeups.works():
        checks["redis"] = "Redis does not answer, or is full: workers look for generations every second"
    if not images.has_room():
        checks["storage"] = "The disk of DATA_DIR is full"
    needed = ("database", "workers", "storage")
    return Readiness(accepts and all(checks[part] == "ok" for part in needed), checks)


def _database(tx: Transaction) -> dict[str, str]:
    """Return a sentence on the database's revision, and on the workers that it knows."""
    checks = {}
    if missing := missing_revision(tx.session.connection()):
        checks["database"] = f"The database lacks revision {missing}. Run 'avatar-creator migrate'"
    registry = WorkerRegistry(tx)
    if registry.none_ready():
        words = "No worker is ready: generations wait, and are given back after QUEUE_MAX_WAIT_S"
        checks["workers"] = words + _cause(registry, LOCAL, HOSTED)
    return checks


def _cause(registry: WorkerRegistry, *backends: str) -> str:
    """Return a sentence on why the last worker of some backends is gone; empty if nobody knows."""
    cause = registry.why_gone(*backends)
    return f". The last one: {cause}" if cause else ""


def _hosted(tx: Transaction, settings: Settings) -> dict[str, str]:
    """Return a sentence on the hosted providers and on the local workers, if these are used."""
    if settings.worker.inference_backend == "local":
        return {}
    registry = WorkerRegistry(tx)
    checks = {"hosted": "ok"}
    if last_errors := registry.last_errors(HOSTED):
        checks["hosted"] = " ".join(last_errors)
    in_reserve = settings.worker.inference_backend == "auto"
    if not registry.ready(HOSTED):
        words = ": nothing steps in for local ones" if in_reserve else ""
        checks["hosted"] = f"No hosted worker is ready{words}" + _cause(registry, HOSTED)
    if in_reserve:
        checks["local"] = "ok"
        if not registry.ready(LOCAL):
            checks["local"] = "No local worker is ready: hosted providers draw" + _cause(registry, LOCAL)
    try:
        Spending(tx).check(settings.hosted_budget_microusd)
    except BudgetSpent:
        checks["hosted"] = "HOSTED_BUDGET_USD_PER_DAY is reached: nothing is asked until midnight in UTC"
    return checks
