"""The statements that start a generation: of a lane the next, or one to be drawn with another.

They are built once: to build one costs more than to run it.
"""

from typing import Any, Final

from sqlalchemy import (
    ColumnElement,
    ScalarSelect,
    Select,
    UpdateBase,
    bindparam,
    false,
    func,
    select,
    true,
    update,
)

from server.generations.lanes import PENDING, first_in
from server.generations.states import Status
from server.generations.tables import Generation

_GENERATIONS: Final = Generation.core()
COLUMNS: Final = {column.key: attribute for attribute, column in Generation.__mapper__.c.items()}
"""The attribute of each column of a generation."""


def _start(first: Select[Any], companion: ColumnElement[bool]) -> UpdateBase:
    """Build the statement that starts the generation of an id, if nobody has locked it."""
    free = first.with_for_update(skip_locked=True).correlate(None).scalar_subquery()
    return (
        update(_GENERATIONS)
        .where(_GENERATIONS.c.id == free)
        .values(
            status=Status.PROCESSING.value,
            attempt=_GENERATIONS.c.attempt + 1,
            worker=bindparam("by_worker"),
            lease_until=bindparam("until"),
            started_at=bindparam("at"),
            updated_at=bindparam("at"),
            companion=companion,
        )
        .returning(*(_GENERATIONS.c[name] for name in COLUMNS))
    )


def _next_of_lane(*within: ColumnElement[bool]) -> Select[Any]:
    of_lane: list[Any] = [bindparam(name) for name in ("of_model", "of_side", "of_tier")]
    allowed = _GENERATIONS.c.losses < bindparam("of_losses")
    return first_in(_GENERATIONS.c.id, *of_lane, allowed, *within)


def _next_of_key(*within: ColumnElement[bool]) -> Select[Any]:
    """Select the first in turn, of any tier: it rides along with a claim, so it goes ahead of nobody."""
    alike = (
        _GENERATIONS.c.batch_key == bindparam("of_key"),
        _GENERATIONS.c.failed_over == bindparam("of_side"),
        _GENERATIONS.c.losses == 0,
    )
    waiting = select(_GENERATIONS.c.id).where(PENDING, *alike, *within)
    return waiting.order_by(_GENERATIONS.c.turn, _GENERATIONS.c.created_at).limit(1)


def _drawn_of_same_user() -> ScalarSelect[int]:
    drawn = _GENERATIONS.alias("drawn")
    of_same = drawn.c.user_id == _GENERATIONS.c.user_id
    counted = (
        select(func.count()).select_from(drawn).where(of_same, drawn.c.status == Status.PROCESSING.value)
    )
    return counted.correlate(_GENERATIONS).scalar_subquery()


_WITHIN: Final = _drawn_of_same_user() < bindparam("of_drawn")

START: Final = _start(_next_of_lane(), false())
"""Starts the next of a lane. The second: of users of whom fewer than :of_drawn are being drawn."""
START_WITHIN: Final = _start(_next_of_lane(_WITHIN), false())
JOIN: Final = _start(_next_of_key(), true())
"""Starts the first in turn of those with a batch key. The second: as above."""
JOIN_WITHIN: Final = _start(_next_of_key(_WITHIN), true())
