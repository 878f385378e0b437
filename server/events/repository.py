"""The events in the database: the truth that later readers replay."""

from typing import Any, Final

from sqlalchemy import insert, select

from server.db.unit_of_work import Repository
from server.events.tables import Event, Kind

_APPEND: Final = insert(Event.core())


class Events(Repository):
    """Appends and reads events."""

    def append(self, generation_id: str, kind: Kind, **data: Any) -> None:
        """Record what happened to a generation; data are JSON values, never a prompt."""
        row = {"generation_id": generation_id, "kind": kind.value, "data": data}
        self._session.connection().execute(_APPEND, row)

    def of(self, generation_id: str) -> list[Event]:
        """Return a generation's events in the order in which they happened."""
        found = self._session.scalars(
            select(Event).where(Event.generation_id == generation_id).order_by(Event.id)
        )
        return list(found)

    def newest(self, limit: int) -> list[Event]:
        """Return the newest events of all generations, the newest first."""
        return list(self._session.scalars(select(Event).order_by(Event.id.desc()).limit(limit)))
