"""What was made with what: counts, seconds and dollars of the generations that ended since a moment."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean
from typing import Final

from catalog.orders import Provenance
from server.db.unit_of_work import UnitOfWork
from server.generations.repository import Ended, Generations
from server.generations.states import Status
from server.spending.repository import Spending

_ROWS_AT_ONCE: Final = 1000

_Kind = tuple[str, str | None, str, str | None, float | None]


@dataclass(frozen=True)
class Made:
    """The images of one backend and provider with one model, at one scale of its LoRA if any."""

    backend: str
    provider: str | None
    model: str
    revision: str | None
    lora_scale: float | None
    count: int
    mean_s: float
    """From the claim of the last attempt to the delivery."""
    cost_usd: float


@dataclass(frozen=True)
class Statistics:
    """What was delivered, and how many generations failed by their errorCode."""

    made: list[Made]
    failed: dict[str, int]
    spent_today_usd: float
    """At hosted providers, since midnight in UTC, failed attempts included."""


def statistics(uow: UnitOfWork, since: datetime) -> Statistics:
    """Count what has ended since a moment, and add up what hosted providers cost today."""
    with uow.read() as tx:
        made, failed = _by_kind(Generations(tx).ended_since(since, _ROWS_AT_ONCE))
        return Statistics(made, failed, Spending(tx).today() / 1e6)


def _by_kind(ended: Iterable[Ended]) -> tuple[list[Made], dict[str, int]]:
    seconds: dict[_Kind, list[float]] = defaultdict(list)
    microusd: dict[_Kind, int] = defaultdict(int)
    failed: dict[str, int] = defaultdict(int)
    for one in ended:
        if one.status == Status.FAILED:
            failed[str(one.error_code)] += 1
        elif one.provenance and one.started_at and one.completed_at:
            kind = _kind(one.provenance)
            seconds[kind].append((one.completed_at - one.started_at).total_seconds())
            microusd[kind] += one.provenance.cost_microusd
    made = [
        Made(*kind, count=len(spent), mean_s=round(fmean(spent), 3), cost_usd=microusd[kind] / 1e6)
        for kind, spent in sorted(seconds.items(), key=lambda one: -len(one[1]))
    ]
    return made, dict(failed)


def _kind(provenance: Provenance) -> _Kind:
    scale = provenance.adapter.scale if provenance.adapter else None
    return provenance.backend, provenance.provider, provenance.model_id, provenance.revision, scale
