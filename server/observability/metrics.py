"""The metrics by name, made of what was read."""

from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily

from server.clock import now
from server.credits.audit import AuditResult
from server.db.unit_of_work import UnitOfWork
from server.errors import DatabaseAway
from server.generations.states import Reason
from server.observability.readings import Reading, read
from server.scheduling.wakeups import WakeUps
from server.tallies.repository import COMPLETED, ENDED, MOVED, STAGE, STAGE_US, STEPS

PREFIX: Final = "avatar_creator"
TRANSFERS: Final = ("grant", "hold", "capture", "void")
FORMER_NAMES: Final = {"wakeups_waiting": "bell_rings_waiting", "wakeups_missing": "bell_rings_missing"}
"""Names from before 0.1.0, which exposes them beside the new ones. 0.2.0 drops them."""


def exposition(uow: UnitOfWork, wakeups: WakeUps) -> bytes:
    """Return the metrics as they are now, in Prometheus' text format.

    Those of a part that does not answer are left out.
    """
    # Redis first, as in the reaper: a generation leaves the queue before its wake-up does.
    waiting = wakeups.waiting()
    try:
        reading = read(uow)
    except DatabaseAway:
        reading = None
    return generate_latest(_Scrape(families(reading, waiting)))


class _Scrape(CollectorRegistry):
    """A registry of the metrics of one scrape alone: the default one has the process's, which differ."""

    def __init__(self, metrics: Iterable[Metric]) -> None:
        super().__init__()
        self._metrics = metrics

    def collect(self) -> Iterable[Metric]:
        """Return the metrics that were read."""
        return self._metrics


def families(reading: Reading | None, wakeups: int | None) -> Iterator[Metric]:
    """Return the metrics of a scrape. None: the database, or Redis, does not answer; the rest is there."""
    yield _gauge("database_up", "Whether the database answers and is migrated: 1 or 0.", reading is not None)
    yield _gauge("redis_up", "Whether Redis answers: 1 or 0.", wakeups is not None)
    if wakeups is not None:
        yield from _renamed("wakeups_waiting", "Wake-ups in Redis that no worker has taken yet.", wakeups)
    if reading is None:
        return
    yield from _queue(reading)
    if wakeups is not None:
        depth = sum(queue.depth for queue in reading.queue.values())
        yield from _renamed(
            "wakeups_missing",
            "Pending generations that no waiting wake-up stands for: workers find them a second later.",
            max(0, depth - wakeups),
        )
    yield _ended(reading)
    yield from _stages(reading)
    yield from _credits(reading)
    workers = GaugeMetricFamily(
        f"{PREFIX}_workers_ready",
        "Workers with a recent heartbeat that take generations.",
        labels=["backend"],
    )
    for backend, ready in reading.workers_ready.items():
        workers.add_metric([backend], ready)
    yield workers


def _renamed(name: str, documentation: str, value: float) -> Iterator[Metric]:
    yield _gauge(name, documentation, value)
    yield _gauge(FORMER_NAMES[name], f"Deprecated: now {PREFIX}_{name}.", value)


def _gauge(name: str, documentation: str, value: float) -> Metric:
    return GaugeMetricFamily(f"{PREFIX}_{name}", documentation, value=float(value))


def _queue(reading: Reading) -> Iterator[Metric]:
    depth = GaugeMetricFamily(
        f"{PREFIX}_queue_depth", "Pending generations, by the tier of their users.", labels=["tier"]
    )
    age = GaugeMetricFamily(
        f"{PREFIX}_queue_oldest_age_seconds",
        "Time since the submission of the generation that waits longest; 0 if none waits.",
        labels=["tier"],
    )
    for tier, queue in reading.queue.items():
        depth.add_metric([tier.value], queue.depth)
        age.add_metric([tier.value], queue.oldest_age_s)
    yield depth
    yield age


def _ended(reading: Reading) -> Metric:
    ended = CounterMetricFamily(
        f"{PREFIX}_generations_ended",
        "Generations that were completed, failed or cancelled, by entry and errorCode.",
        labels=["entry", "outcome", "error_code"],
    )
    # Exposed as 0 before it happens: otherwise its first time would be no increase.
    outcomes = (COMPLETED, *(reason.value for reason in Reason))
    never = {(entry, outcome): 0 for entry in reading.entries for outcome in outcomes}
    for (entry, outcome), count in (never | _of_kind(reading, ENDED)).items():
        word = {COMPLETED: COMPLETED, Reason.CANCELLED.value: "cancelled"}.get(outcome, "failed")
        ended.add_metric([entry, word, "" if outcome == COMPLETED else outcome], count)
    return ended


def _of_kind(reading: Reading, kind: str) -> dict[tuple[str, str], int]:
    """Return the tallies of a kind by entry and part."""
    return {(entry, part): value for (of, entry, part), value in reading.tallies.items() if of == kind}


def _stages(reading: Reading) -> Iterator[Metric]:
    stages = SummaryMetricFamily(
        f"{PREFIX}_stage_seconds",
        "Time spent in each stage of the completed generations' last attempts, as the worker timed it.",
        labels=["entry", "stage"],
    )
    spent_us = _of_kind(reading, STAGE_US)
    for (entry, stage), count in _of_kind(reading, STAGE).items():
        stages.add_metric([entry, stage], count, spent_us[entry, stage] / 1e6)
    steps = CounterMetricFamily(
        f"{PREFIX}_steps", "Denoising steps of the completed generations' last attempts.", labels=["entry"]
    )
    for (entry, _), count in _of_kind(reading, STEPS).items():
        steps.add_metric([entry], count)
    pace = GaugeMetricFamily(
        f"{PREFIX}_steps_per_second",
        "Denoising steps by the time spent in them, of the newest that was completed in the last hour.",
        labels=["entry"],
    )
    for entry, steps_per_s in reading.steps_per_s.items():
        pace.add_metric([entry], steps_per_s)
    yield from (stages, steps, pace)


def _credits(reading: Reading) -> Iterator[Metric]:
    yield _gauge("credits_held", "Credits that are reserved for generations now.", reading.credits_held)
    moved = CounterMetricFamily(
        f"{PREFIX}_credits_moved",
        "Credits by kind of transfer: granted, held, captured (taken for good) or voided (given back whole).",
        labels=["kind"],
    )
    by_kind = {part: total for (_, part), total in _of_kind(reading, MOVED).items()}
    for kind, total in (dict.fromkeys(TRANSFERS, 0) | by_kind).items():
        moved.add_metric([kind], total)
    yield moved
    if reading.audit is not None:
        yield from _audit(reading.audit)


def _audit(result: AuditResult) -> Iterator[Metric]:
    yield _gauge(
        "ledger_drifting_accounts",
        "Accounts whose credits differ from what was posted to them, by the last audit or the one under way. "
        "Never other than 0, or there is a bug.",
        result.drifting_accounts,
    )
    yield _gauge(
        "ledger_postings_sum",
        "Sum of all postings in credits, by the last audit. Never other than 0, or credits were made or "
        "lost.",
        result.postings_sum,
    )
    yield _gauge(
        "ledger_audit_age_seconds",
        "Time since the last audit of the ledger ended.",
        max(0.0, (now() - result.ended_at).total_seconds()),
    )
