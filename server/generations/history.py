"""What happened to a generation, as its owner may know it: no worker, no provider, no prompt."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from sqlalchemy import ColumnElement, select

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


class History(Repository):
    """Reads events together with their generations. Those of deleted generations are not there."""

    def of_events(self, event_ids: Collection[int]) -> list[Happened]:
        """Return events by their ids."""
        return self._find(Event.id.in_(event_ids)) if event_ids else []

    def of_generation(self, generation_id: str, after: int, most: int) -> list[Happened]:
        """Return a generation's events after an id. Their ids are in the order of their commits."""
        return self._find(Event.generation_id == generation_id, Event.id > after, most=most)

    def of_user(self, user_id: str, after: int, until: int, most: int) -> list[Happened]:
        """Return the events of a user's generations after an id, up to another."""
        return self._find(Generation.user_id == user_id, Event.id > after, Event.id <= until, most=most)

    def _find(self, *where: ColumnElement[bool], most: int | None = None) -> list[Happened]:
        rows = self._session.execute(
            select(
                Event.id,
                Event.kind,
                Event.data,
                Event.at,
                Generation.id,
                Generation.user_id,
                Generation.status,
                Generation.entry_key,
                Generation.created_at,
                Generation.credits,
                Generation.avatar_id,
                Avatar.image_key,
                Generation.error_code,
                Generation.error_message,
            )
            .join(Generation, Generation.id == Event.generation_id)
            .outerjoin(Avatar, Avatar.id == Generation.avatar_id)
            .where(*where)
            .order_by(Event.id)
            .limit(most)
        )
        return [Happened(*row) for row in rows]
