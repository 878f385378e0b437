"""The events table: what happened to a generation, in order. The truth that later readers replay."""

from typing import Any, Final

from sqlalchemy import insert, select
from sqlalchemy.orm import Session

from server.db.tables import Event

QUEUED: Final = "queued"
CLAIMED: Final = "claimed"
RELEASED: Final = "released"
PASSED_ON: Final = "passed_on"
LOST: Final = "lost"
COMPLETED: Final = "completed"
FAILED: Final = "failed"


_APPEND: Final = insert(Event.core())


class Events:
    """Appends and reads events inside the caller's transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def append(self, generation_id: str, kind: str, **data: Any) -> None:
        """Record what happened to a generation; data are JSON values, never a prompt."""
        row = {"generation_id": generation_id, "kind": kind, "data": data}
        self._session.connection().execute(_APPEND, row)

    def of(self, generation_id: str) -> list[Event]:
        """Return a generation's events in the order in which they happened."""
        found = self._session.scalars(
            select(Event).where(Event.generation_id == generation_id).order_by(Event.id)
        )
        return list(found)
