"""What happened to a generation, as its owner may know it: no worker, no provider, no prompt."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import Select, bindparam, select

from server.avatars.tables import Avatar
from server.db.unit_of_work import Repository
from server.events.tables import Event, Kind
from server.generations.tables import Generation


class Happening(StrEnum):
    """What can happen to a generation, for its owner."""

    QUEUED = "queued"
    STARTED = "started"
    STEP = "step"
    COMPLETED = "completed"
    FAILED = "failed"


HAPPENINGS: Final[Mapping[Kind, Happening]] = {
    Kind.QUEUED: Happening.QUEUED,
    Kind.CLAIMED: Happening.STARTED,
    Kind.STEP: Happening.STEP,
    # Given back by a worker that stopped, failed or was lost: it waits for another one.
    Kind.RELEASED: Happening.QUEUED,
    Kind.FAILED_OVER: Happening.QUEUED,
    Kind.LOST: Happening.QUEUED,
    Kind.COMPLETED: Happening.COMPLETED,
    Kind.FAILED: Happening.FAILED,
}
FINAL: Final = frozenset({Happening.COMPLETED, Happening.FAILED})


@dataclass(frozen=True)
class Happened:
    """One event of a generation, with what the generation is now. data: the event's own; see `Events`."""

    id: int
    kind: str
    data: Mapping[str, Any]
    at: datetime
    generation_id: str
    user_id: str
    status: str
    entry_key: str
    created_at: datetime
    turn: float
    credits: int
    avatar_id: str | None
    image_key: str | None
    error_code: str | None
    error_message: str | None

    @property
    def happening(self) -> Happening:
        """What happened, for the owner."""
        return HAPPENINGS[Kind(self.kind)]

    @property
    def is_final(self) -> bool:
        """Whether nothing can happen after it."""
        return self.happening in FINAL


_EVENTS: Final = Event.core()
_GENERATIONS: Final = Generation.core()
_AVATARS: Final = Avatar.core()
_FIND: Final = (
    select(
        _EVENTS.c.id,
        _EVENTS.c.kind,
        _EVENTS.c.data,
        _EVENTS.c.at,
        _GENERATIONS.c.id,
        _GENERATIONS.c.user_id,
        _GENERATIONS.c.status,
        _GENERATIONS.c.entry_key,
        _GENERATIONS.c.created_at,
        _GENERATIONS.c.turn,
        _GENERATIONS.c.credits,
        _GENERATIONS.c.avatar_id,
        _AVATARS.c.image_key,
        _GENERATIONS.c.error_code,
        _GENERATIONS.c.error_message,
    )
    .join(_GENERATIONS, _GENERATIONS.c.id == _EVENTS.c.generation_id)
    .outerjoin(_AVATARS, _AVATARS.c.id == _GENERATIONS.c.avatar_id)
    .order_by(_EVENTS.c.id)
)
_OF_EVENTS: Final = _FIND.where(_EVENTS.c.id.in_(bindparam("ids", expanding=True)))
_AFTER: Final = _FIND.where(_EVENTS.c.id > bindparam("known")).limit(bindparam("most"))
_OF_GENERATION: Final = _AFTER.where(_EVENTS.c.generation_id == bindparam("of_generation"))
_OF_USER: Final = _AFTER.where(
    _GENERATIONS.c.user_id == bindparam("of_user"), _EVENTS.c.id <= bindparam("until")
)


class History(Repository):
    """Reads events together with their generations. Those of deleted generations are not there."""

    def of_events(self, event_ids: Collection[int]) -> list[Happened]:
        """Return events by their ids."""
        return self._find(_OF_EVENTS, ids=event_ids) if event_ids else []

    def of_generation(self, generation_id: str, after: int, most: int) -> list[Happened]:
        """Return a generation's events after an id. Their ids are in the order of their commits."""
        return self._find(_OF_GENERATION, of_generation=generation_id, known=after, most=most)

    def of_user(self, user_id: str, after: int, until: int, most: int) -> list[Happened]:
        """Return the events of a user's generations after an id, up to another."""
        return self._find(_OF_USER, of_user=user_id, known=after, until=until, most=most)

    def _find(self, statement: Select[Any], **values: Any) -> list[Happened]:
        return [Happened(*row) for row in self._session.connection().execute(statement, values)]
