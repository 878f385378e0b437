"""The metrics by name, made of what was read."""

from collections.abc import Iterator
from typing import Final

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric, SummaryMetricFamily

from server.generations.states import Reason
from server.metrics.readings import Reading
from server.metrics.tallies import COMPLETED, ENDED, STAGE, STAGE_US, STEPS

PREFIX: Final = "avatar_creator"
TRANSFERS: Final = ("grant", "hold", "capture", "void")


def families(reading: Reading | None, rings: int | None) -> Iterator[Metric]:
    """Return the metrics of a scrape. None: the database, or Redis, does not answer; the rest is told."""
    yield _gauge("database_up", "Whether the database answers and is migrated: 1 or 0.", reading is not None)
    yield _gauge("redis_up", "Whether Redis answers: 1 or 0.", rings is not None)
    if rings is not None:
        yield _gauge("bell_rings_waiting", "Rings in Redis that no worker has answered yet.", rings)
    if reading is None:
        return
    yield from _queue(reading)
    if rings is not None:
        depth = sum(queue.depth for queue in reading.queue.values())
        yield _gauge(
            "bell_rings_missing",
            "Pending generations that no waiting ring stands for. The pending row is the queue and there is "
            "no outbox: the reaper rings again for these, so this is the lag between database and Redis.",
            max(0, depth - rings),
        )
    yield _ended(reading)
    yield from _stages(reading)
    yield from _credits(reading)
    workers = GaugeMetricFamily(
        f"{PREFIX}_workers_ready", "Workers that told of themselves and take generations.", labels=["backend"]
    )
    for backend, ready in reading.workers_ready.items():
        workers.add_metric([backend], ready)
    yield workers


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
    # What has not happened yet is told as 0, or its first time would be no increase.
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
    yield _gauge("credits_held", "Credits that are reserved for generations now.", reading.books.held)
    moved = CounterMetricFamily(
        f"{PREFIX}_credits_moved",
        "Credits by kind of transfer: granted, held, captured (taken for good) or voided (given back whole).",
        labels=["kind"],
    )
    for kind, total in (dict.fromkeys(TRANSFERS, 0) | dict(reading.credits_moved)).items():
        moved.add_metric([kind], total)
    yield moved
    yield _gauge(
        "ledger_drifting_accounts",
        "Accounts whose credits differ from what was posted to them. Never other than 0, or there is a bug.",
        reading.books.drifting_accounts,
    )
    yield _gauge(
        "ledger_postings_sum",
        "Sum of all postings in credits. Never other than 0, or credits were made or lost.",
        reading.books.postings_sum,
    )
