"""Lanes of the queue: what waits for one model, of users of one tier. Their heads are read from an index.

A lane is no row: the partial index `ix_generations_lanes` keeps each in its order, within the transactions
in which a generation begins to wait or ceases to. So a lane cannot disagree with what waits.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ScalarSelect,
    Select,
    String,
    bindparam,
    false,
    func,
    literal,
    literal_column,
    select,
    true,
    union_all,
)

from catalog.tiers import Tier
from server.generations.states import Status
from server.generations.tables import Generation

NO_LIMIT: Final = 2**31 - 1
"""More workers than any generation can lose, and more than draw for any user."""

_GENERATIONS: Final = Generation.core()
# In the words of the partial index, which a plan that PostgreSQL keeps does not use for a parameter; and part
# of the statement, into which `literal_execute` would write them at each execution.
PENDING: Final = _GENERATIONS.c.status == literal_column(f"'{Status.PENDING.value}'")
_PROCESSING: Final = _GENERATIONS.c.status == literal_column(f"'{Status.PROCESSING.value}'")


class Lane(NamedTuple):
    """What waits for one model, of users of one tier, and has failed over or not."""

    model_id: str
    failed_over: bool
    tier: Tier


@dataclass(frozen=True)
class Head:
    """The turn and the submission of the generation that is next in its lane."""

    lane: Lane
    turn: float
    created_at: datetime


def first_in(column: Any, model_id: Any, failed_over: Any, tier: Any, *within: Any) -> Select[Any]:
    """Select a column of the first generation that waits in a lane, of those within further conditions."""
    of_lane = (
        _GENERATIONS.c.model_id == model_id,
        _GENERATIONS.c.failed_over == failed_over,
        _GENERATIONS.c.tier == tier,
    )
    ordered = select(column).where(PENDING, *of_lane, *within)
    return ordered.order_by(_GENERATIONS.c.turn, _GENERATIONS.c.created_at).limit(1)


def _models() -> Any:
    """Select the models that something waits for, each by one descent of the index: a loose index scan."""
    model = _GENERATIONS.c.model_id
    first = select(func.min(model).label("model_id")).where(PENDING).cte("models", recursive=True)
    following = select(func.min(model)).where(PENDING, model > first.c.model_id).scalar_subquery()
    return first.union_all(select(following).where(first.c.model_id.is_not(None)))


def _heads() -> Any:
    models = _models()
    tiers = union_all(*(select(literal(tier.value, String).label("tier")) for tier in Tier)).subquery()
    sides = union_all(*(select(side().label("failed_over")) for side in (false, true))).subquery()
    lanes = select(models.c.model_id, sides.c.failed_over, tiers.c.tier).select_from(
        models.join(sides, true()).join(tiers, true())
    )
    lane = lanes.where(models.c.model_id.is_not(None)).subquery("lane")

    def of_head(column: Any) -> ScalarSelect[Any]:
        allowed = _GENERATIONS.c.losses < bindparam("of_losses")
        first = first_in(column, lane.c.model_id, lane.c.failed_over, lane.c.tier, allowed)
        return first.correlate(lane).scalar_subquery()

    turn, created_at = of_head(_GENERATIONS.c.turn), of_head(_GENERATIONS.c.created_at)
    return select(lane, turn.label("turn"), created_at.label("created_at"))


def _room() -> Any:
    turn, of_model = _GENERATIONS.c.turn, _GENERATIONS.c.model_id == bindparam("of_model")
    of_user = _GENERATIONS.c.user_id == bindparam("of_user")
    own = select(turn).where(of_user).order_by(_GENERATIONS.c.created_at.desc()).limit(1)
    fronts = (first_in(turn, bindparam("of_model"), false(), tier.value) for tier in Tier)
    counted = select(func.count()).select_from(_GENERATIONS)
    drawn = select(func.max(turn)).where(_PROCESSING, _GENERATIONS.c.companion == false())
    return select(
        counted.where(PENDING).scalar_subquery(),
        (
            counted.where(PENDING, of_user).scalar_subquery()
            + counted.where(_PROCESSING, of_user).scalar_subquery()
        ),
        drawn.where(of_model).scalar_subquery(),
        select(func.max(turn)).where(_PROCESSING, of_model).scalar_subquery(),
        drawn.scalar_subquery(),
        # Turns rise with the submissions of a user, so the newest has the last: one row, however many wait.
        own.where(PENDING, of_model).scalar_subquery(),
        own.scalar_subquery(),
        *(front.scalar_subquery() for front in fronts),
    )


HEADS: Final = _heads()
"""Selects for every lane the turn and the submission of its head; None where nothing waits."""
ROOM: Final = _room()
"""Selects the fields of `queue.Room`, with those of its standing, of which the front is one for each tier."""
