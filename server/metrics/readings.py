"""What the database tells at a scrape. Nothing is kept in memory, so every API process tells the same.

Counters are sums over append-only tables (events, ledger_transfers): they outlive restarts and the
deletion of projects, and never fall.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

from sqlalchemy import Row, case, func, select
from sqlalchemy.orm import Session

from catalog.tiers import Tier
from server.clock import now
from server.db.tables import Account, CatalogEntry, Event, Generation, Posting, Transfer, User
from server.db.unit_of_work import Transaction
from server.events.log import COMPLETED, FAILED
from server.failover.duty import HOSTED, LOCAL
from server.generations.states import Status

STAGES: Final = ("load", "encode", "step", "decode", "hosted")  # inference's phases, as the events have them
RECENT: Final = timedelta(hours=1)
"""What a pace is averaged over."""
UNKNOWN: Final = "unknown"
"""The entry of what ended before its event named it."""
_STORED_DECIMALS: Final = 4  # of the seconds on an event


@dataclass(frozen=True)
class Queue:
    """What waits of one tier. oldest_age_s: since the submission of what waits longest; 0 if nothing does."""

    depth: int = 0
    oldest_age_s: float = 0.0


@dataclass(frozen=True)
class Stage:
    """How often a stage was gone through in what was delivered, and its seconds in all."""

    count: int
    seconds: float


@dataclass(frozen=True)
class Work:
    """What became of generations. Keys begin with the entry.

    ended: by errorCode, None for what was completed. steps_per_s: only of entries drawn of late.
    """

    ended: Mapping[tuple[str, str | None], int]
    stages: Mapping[tuple[str, str], Stage]
    steps: Mapping[str, int]
    steps_per_s: Mapping[str, float]


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
    work: Work
    books: Books
    credits_moved: Mapping[str, int]
    workers_ready: Mapping[str, int]


def read(tx: Transaction) -> Reading:
    """Read all that the metrics are made of."""
    session = tx.session
    return Reading(
        entries=sorted(session.scalars(select(CatalogEntry.model_key))),
        queue=_queue(session),
        work=_work(session),
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
_MOVED: Final = select(Transfer.kind, func.sum(Transfer.credits)).group_by(Transfer.kind)


def _queue(session: Session) -> dict[Tier, Queue]:
    moment = now()
    waiting = {
        Tier(tier): Queue(depth, max(0.0, (moment - oldest).total_seconds()))
        for tier, depth, oldest in session.execute(_WAITING)
    }
    return {tier: waiting.get(tier, Queue()) for tier in Tier}


# Taken out of the JSON first and grouped after: PostgreSQL sees no equality of two bound paths.
_ENDS: Final = (
    select(
        Event.at,
        func.coalesce(Event.data["entry"].as_string(), UNKNOWN).label("entry"),
        Event.data["reason"].as_string().label("error_code"),
        Event.data["steps"].as_integer().label("steps"),
        *(Event.data[("seconds", stage)].as_float().label(f"{stage}_s") for stage in STAGES),
    )
    .where(Event.kind.in_([COMPLETED, FAILED]))
    .subquery()
)


def _work(session: Session) -> Work:
    ends = _ENDS.c
    paced = ends.steps.is_not(None) & ends.step_s.is_not(None)
    recent = paced & (ends.at >= now() - RECENT)
    totals = select(
        ends.entry,
        ends.error_code,
        func.count().label("ended"),
        func.sum(case((paced, ends.steps))).label("steps"),
        func.sum(case((recent, ends.steps))).label("recent_steps"),
        func.sum(case((recent, ends.step_s))).label("recent_s"),
        *(func.count(ends[f"{stage}_s"]).label(f"{stage}_count") for stage in STAGES),
        *(func.sum(ends[f"{stage}_s"]).label(f"{stage}_sum") for stage in STAGES),
    ).group_by(ends.entry, ends.error_code)
    rows = session.execute(totals).all()
    completed = [row for row in rows if row.error_code is None]
    return Work(
        ended={(row.entry, row.error_code): row.ended for row in rows},
        stages={key: stage for row in completed for key, stage in _stages(row).items()},
        steps={row.entry: int(row.steps) for row in completed if row.steps},
        steps_per_s={row.entry: row.recent_steps / row.recent_s for row in completed if row.recent_s},
    )


def _stages(row: Row[Any]) -> dict[tuple[str, str], Stage]:
    # Rounded: a sum whose last bit depends on the order of the rows would fall now and then, which a
    # Prometheus takes for a restart and counts all of it again.
    seconds = {stage: getattr(row, f"{stage}_sum") for stage in STAGES}
    return {
        (row.entry, stage): Stage(getattr(row, f"{stage}_count"), round(total, _STORED_DECIMALS))
        for stage, total in seconds.items()
        if total is not None
    }


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
