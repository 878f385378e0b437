"""What the database tells at a scrape. Nothing is kept in memory, so every API process tells the same.

Counters are tallies, and sums over the append-only ledger: they outlive restarts and the deletion of
projects, and never fall.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session

from catalog.tiers import Tier
from server.clock import now
from server.db.tables import Account, CatalogEntry, Event, Generation, Posting, Transfer, User
from server.db.unit_of_work import Transaction
from server.events.log import COMPLETED
from server.failover.duty import HOSTED, LOCAL
from server.generations.states import Status
from server.metrics.tallies import Key

RECENT: Final = timedelta(hours=1)
RECENT_EVENTS: Final = 500
"""What a pace is averaged over, at most: reading these takes a few milliseconds however long the log is."""


@dataclass(frozen=True)
class Queue:
    """What waits of one tier. oldest_age_s: since the submission of what waits longest; 0 if nothing does."""

    depth: int = 0
    oldest_age_s: float = 0.0


@dataclass(frozen=True)
class Books:
    """The ledger against the accounts. Both figures are zero, or credits were made or lost."""

    postings_sum: int
    drifting_accounts: int
    held: int


@dataclass(frozen=True)
class Reading:
    """All that one read transaction finds."""

    entries: list[str]
    queue: Mapping[Tier, Queue]
    tallies: Mapping[Key, int]
    steps_per_s: Mapping[str, float]
    """By entry, of those drawn of late."""
    books: Books
    credits_moved: Mapping[str, int]
    workers_ready: Mapping[str, int]


def read(tx: Transaction) -> Reading:
    """Read all that the metrics are made of."""
    session = tx.session
    return Reading(
        entries=sorted(session.scalars(select(CatalogEntry.model_key))),
        queue=_queue(session),
        tallies=tx.tallies.all(),
        steps_per_s=_pace(session),
        books=_books(session),
        credits_moved={kind: int(total) for kind, total in session.execute(_MOVED)},
        workers_ready={backend: len(tx.workers.ready(backend)) for backend in (LOCAL, HOSTED)},
    )


_WAITING: Final = (
    select(User.tier, func.count(), func.min(Generation.created_at))
    .join(User, User.id == Generation.user_id)
    .where(Generation.status == Status.PENDING)
    .group_by(User.tier)
)
_NEWEST_EVENTS: Final = (
    select(Event.kind, Event.at, Event.data).order_by(Event.id.desc()).limit(RECENT_EVENTS)
)
_MOVED: Final = select(Transfer.kind, func.sum(Transfer.credits)).group_by(Transfer.kind)


def _queue(session: Session) -> dict[Tier, Queue]:
    moment = now()
    waiting = {
        Tier(tier): Queue(depth, max(0.0, (moment - oldest).total_seconds()))
        for tier, depth, oldest in session.execute(_WAITING)
    }
    return {tier: waiting.get(tier, Queue()) for tier in Tier}


def _pace(session: Session) -> dict[str, float]:
    steps, seconds = Counter[str](), defaultdict[str, float](float)
    since = now() - RECENT
    for kind, at, data in session.execute(_NEWEST_EVENTS):
        if kind == COMPLETED and at >= since and "step" in data["seconds"] and "steps" in data:
            steps[data["entry"]] += data["steps"]
            seconds[data["entry"]] += data["seconds"]["step"]
    return {entry: steps[entry] / spent for entry, spent in seconds.items() if spent}


def _books(session: Session) -> Books:
    """Compare in one statement: two would see the transfers that were made in between as drift."""
    posted = (
        select(
            Posting.user_id,
            func.sum(Posting.amount).label("total"),
            func.sum(case((Posting.account == "available", Posting.amount), else_=0)).label("available"),
            func.sum(case((Posting.account == "held", Posting.amount), else_=0)).label("held"),
        )
        .group_by(Posting.user_id)
        .cte("posted")
    )
    drifts = (Account.available != func.coalesce(posted.c.available, 0)) | (
        Account.held != func.coalesce(posted.c.held, 0)
    )
    found = session.execute(
        select(
            select(func.coalesce(func.sum(posted.c.total), 0)).scalar_subquery(),
            func.count().filter(drifts),
            func.coalesce(func.sum(Account.held), 0),
        )
        .select_from(Account)
        .outerjoin(posted, posted.c.user_id == Account.user_id)
    )
    return Books(*(int(number) for number in found.one()))
