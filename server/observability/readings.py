"""What is read from the database at a scrape. Nothing is kept in memory, so all API processes agree.

Counters are tallies: they outlive restarts and the deletion of projects, and never fall. No reading grows
with the history: see ADR 26.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from catalog.tiers import Tier
from server.clock import now
from server.credits.audit import AuditResult, Audits
from server.credits.repository import Ledger
from server.db.unit_of_work import Transaction, UnitOfWork
from server.entries.repository import Entries
from server.events.repository import Events
from server.generations.queue import PendingQueue
from server.scheduling.claim_policy import HOSTED, LOCAL
from server.scheduling.registry import WorkerRegistry
from server.tallies.repository import Key, Tallies

RECENT: Final = timedelta(hours=1)
RECENT_EVENTS: Final = 500
"""What a pace is averaged over, at most: reading these takes a few milliseconds however long the log is."""


@dataclass(frozen=True)
class Queue:
    """Pending generations of one tier. oldest_age_s: since the oldest was submitted; 0 if none waits."""

    depth: int = 0
    oldest_age_s: float = 0.0


@dataclass(frozen=True)
class Reading:
    """The result of one read transaction."""

    entries: list[str]
    queue: Mapping[Tier, Queue]
    tallies: Mapping[Key, int]
    steps_per_s: Mapping[str, float]
    """By entry, of those drawn recently."""
    credits_held: int
    audit: AuditResult | None
    """None before the first audit of the ledger has ended."""
    workers_ready: Mapping[str, int]


def read(uow: UnitOfWork) -> Reading:
    """Read everything that the metrics need, in one transaction.

    Raises:
        DatabaseAway: the database does not answer, or is not migrated.

    """
    with uow.read() as tx:
        registry = WorkerRegistry(tx)
        return Reading(
            entries=Entries(tx).keys(),
            queue=waiting(tx),
            tallies=Tallies(tx).all(),
            steps_per_s=_steps_per_s(Events(tx).completed_since(now() - RECENT, RECENT_EVENTS)),
            credits_held=Ledger(tx).held(),
            audit=Audits(tx).result(),
            workers_ready={backend: len(registry.ready(backend)) for backend in (LOCAL, HOSTED)},
        )


def waiting(tx: Transaction) -> dict[Tier, Queue]:
    """Return what waits, by the tier of its users."""
    moment = now()
    found = {
        tier: Queue(depth, max(0.0, (moment - oldest).total_seconds()))
        for tier, (depth, oldest) in PendingQueue(tx).waiting_by_tier().items()
    }
    return {tier: found.get(tier, Queue()) for tier in Tier}


def _steps_per_s(completed: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    steps, seconds = Counter[str](), defaultdict[str, float](float)
    for data in completed:
        if "step" in data["seconds"] and "steps" in data:
            steps[data["entry"]] += data["steps"]
            seconds[data["entry"]] += data["seconds"]["step"]
    return {entry: steps[entry] / spent for entry, spent in seconds.items() if spent}
