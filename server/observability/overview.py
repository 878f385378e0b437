"""What operators see of the service at one moment. No reading grows with the history: see ADR 26."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import fmean
from typing import Any, Final

from catalog.entries import Entry, EntryMalformed
from catalog.tiers import Tier
from server.clock import now
from server.credits.audit import AuditResult, Audits
from server.credits.repository import Ledger
from server.db.unit_of_work import Transaction, UnitOfWork
from server.entries.repository import Entries
from server.events.repository import Events
from server.generations.repository import Ended, Generations
from server.generations.states import Status
from server.observability.readings import Queue, waiting
from server.scheduling.registry import STALE, WorkerRegistry
from server.scheduling.tables import RegisteredWorker
from server.spending.repository import Spending

RECENT: Final = timedelta(hours=1)
MOST_ENDED: Final = 1000  # of an entry: what ended before them in the last hour is not counted
MOST_EVENTS: Final = 2000


@dataclass(frozen=True)
class Worker:
    """A worker, whether it is there by its heartbeats, and how many generations it draws."""

    row: RegisteredWorker
    there: bool
    drawing: int


@dataclass(frozen=True)
class Recent:
    """What an entry's generations did in the last hour, or in the time of the newest MOST_ENDED of them.

    mean_s: from the claim to the delivery; None if none was delivered. stages_s: the mean of each stage.
    """

    delivered: int
    per_minute: float
    mean_s: float | None
    stages_s: Mapping[str, float]


@dataclass(frozen=True)
class Overview:
    """The state of the service. spent_usd: at hosted providers since midnight in UTC.

    audit: None before the first audit of the ledger has ended.
    """

    at: datetime
    workers: Sequence[Worker]
    queue: Mapping[Tier, Queue]
    entries: Sequence[Entry]
    malformed: Sequence[EntryMalformed]
    recent: Mapping[str, Recent]
    failures: Mapping[str, int]
    credits_held: int
    audit: AuditResult | None
    spent_usd: float


def overview(uow: UnitOfWork) -> Overview:
    """Read all that operators see, in one transaction."""
    with uow.read() as tx:
        entries, malformed = Entries(tx).examined()
        moment = now()
        ended = {
            entry.key: Generations(tx).newest_ended(entry.key, moment - RECENT, MOST_ENDED)
            for entry in entries
        }
        stages = _stages(Events(tx).completed_since(moment - RECENT, MOST_EVENTS))
        return Overview(
            at=moment,
            workers=_workers(tx, moment),
            queue=waiting(tx),
            entries=sorted(entries, key=lambda entry: (entry.tier.rank, entry.credit_cost, entry.key)),
            malformed=malformed,
            recent={key: _recent(of_entry, stages.get(key, {}), moment) for key, of_entry in ended.items()},
            failures=_failures(one for of_entry in ended.values() for one in of_entry),
            credits_held=Ledger(tx).held(),
            audit=Audits(tx).result(),
            spent_usd=Spending(tx).today() / 1e6,
        )


def _workers(tx: Transaction, moment: datetime) -> list[Worker]:
    drawn = Generations(tx).drawn_by_worker()
    return [
        Worker(row, row.seen_at > moment - STALE, drawn.get(row.name, 0)) for row in WorkerRegistry(tx).all()
    ]


def _recent(ended: Sequence[Ended], stages_s: Mapping[str, float], moment: datetime) -> Recent:
    delivered = [one for one in ended if one.status == Status.COMPLETED]
    took_s = [
        (one.completed_at - one.started_at).total_seconds()
        for one in delivered
        if one.completed_at and one.started_at
    ]
    span_s = RECENT.total_seconds()
    if len(ended) == MOST_ENDED and ended[-1].completed_at:
        span_s = max(1.0, (moment - ended[-1].completed_at).total_seconds())
    mean_s = round(fmean(took_s), 3) if took_s else None
    return Recent(len(delivered), round(60 * len(delivered) / span_s, 3), mean_s, stages_s)


def _failures(ended: Iterable[Ended]) -> dict[str, int]:
    counted = Counter(str(one.error_code) for one in ended if one.status == Status.FAILED)
    return dict(counted.most_common())


def _stages(completed: Iterable[Mapping[str, Any]]) -> dict[str, dict[str, float]]:
    """Return the mean seconds of each stage, by entry."""
    seconds: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for data in completed:
        for stage, spent_s in data["seconds"].items():
            seconds[data["entry"]][stage].append(spent_s)
    return {
        entry: {stage: round(fmean(spent), 3) for stage, spent in of_entry.items()}
        for entry, of_entry in seconds.items()
    }
