"""The events in the database: the truth that later readers replay."""

from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import bindparam, func, insert, select, text

from server.db.unit_of_work import Repository
from server.events.tables import Event, Kind

_EVENTS: Final = Event.core()
_APPEND: Final = insert(_EVENTS)
# What the process's reader runs several times a second is built once.
_NEWEST: Final = select(func.max(_EVENTS.c.id))
_AFTER: Final = (
    select(_EVENTS.c.id, _EVENTS.c.generation_id)
    .where(_EVENTS.c.id > bindparam("known"))
    .order_by(_EVENTS.c.id)
    .limit(bindparam("most"))
)
# An INSERT locks its table before it draws an id, and the lock lasts until the transaction has ended.
_WRITERS: Final = text(
    "SELECT virtualtransaction FROM pg_locks WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' "
    "AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) "
    "AND relation = to_regclass('events')"
)


class EventKey(NamedTuple):
    """Which event, and of which generation."""

    id: int
    generation_id: str


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

    def completed_since(self, moment: datetime, limit: int) -> list[dict[str, Any]]:
        """Return what was recorded of the completions since a moment, among the newest so many events."""
        newest = select(_EVENTS).order_by(_EVENTS.c.id.desc()).limit(limit).subquery()
        completed = select(newest.c.data).where(newest.c.kind == Kind.COMPLETED.value, newest.c.at >= moment)
        return list(self._session.connection().scalars(completed))

    def newest_of(self, generation_id: str) -> Event | None:
        """Return a generation's newest event."""
        of = select(Event).where(Event.generation_id == generation_id)
        return self._session.scalar(of.order_by(Event.id.desc()).limit(1))

    def newest_id(self) -> int:
        """Return the id of the newest event that can be seen; 0 if there is none."""
        return self._session.connection().scalar(_NEWEST) or 0

    def after(self, event_id: int, most: int) -> list[EventKey]:
        """Return the events of all generations with greater ids, by their ids."""
        rows = self._session.connection().execute(_AFTER, {"known": event_id, "most": most})
        return [EventKey(*row) for row in rows]

    def writers(self) -> frozenset[str]:
        """Return the open transactions that may append events whose ids are drawn already.

        SQLite has one writer at a time, which draws its ids while it has the lock: there are none.
        """
        if self._session.get_bind().dialect.name == "sqlite":
            return frozenset()
        return frozenset(self._session.connection().scalars(_WRITERS))
