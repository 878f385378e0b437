"""What was made with what: counts, seconds and dollars of the generations that ended since a moment."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.db.tables import Generation
from server.generations.states import Status

_ROWS_AT_ONCE: Final = 1000

_Kind = tuple[str, str | None, str, str | None, float | None]


@dataclass(frozen=True)
class Made:
    """All that one backend and provider made of one model, at one scale of its LoRA if it has one."""

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


def statistics(session: Session, since: datetime) -> Statistics:
    """Count what has ended since a moment."""
    rows = session.execute(
        select(
            Generation.status,
            Generation.making,
            Generation.error_code,
            Generation.started_at,
            Generation.completed_at,
        )
        .where(Generation.completed_at >= since)
        .execution_options(yield_per=_ROWS_AT_ONCE)
    )
    seconds: dict[_Kind, list[float]] = defaultdict(list)
    microusd: dict[_Kind, int] = defaultdict(int)
    failed: dict[str, int] = defaultdict(int)
    for status, making, error_code, started_at, completed_at in rows:
        if status == Status.FAILED:
            failed[error_code] += 1
        elif making:
            scale = (making["adapter"] or {}).get("scale")
            kind = (making["backend"], making["provider"], making["model_id"], making["revision"], scale)
            seconds[kind].append((completed_at - started_at).total_seconds())
            microusd[kind] += making["cost_microusd"]
    made = [
        Made(*kind, count=len(spent), mean_s=round(fmean(spent), 3), cost_usd=microusd[kind] / 1e6)
        for kind, spent in sorted(seconds.items(), key=lambda one: -len(one[1]))
    ]
    return Statistics(made, dict(failed))
