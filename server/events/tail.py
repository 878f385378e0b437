"""Reads the events of all generations as they happen, each once and in the order of their ids."""

from typing import Final

from server.db.unit_of_work import Transaction
from server.events.repository import EventKey, Events

MOST_AT_ONCE: Final = 200  # fewer than a stream's buffer holds: one round never overflows it


class EventTail:
    """A position in the events. It passes an id only when no smaller one can appear any more.

    PostgreSQL draws ids before it commits, so an id can appear after a greater one, or never if its
    transaction rolls back. Where an id is missing, the tail waits until every transaction that was then
    appending events has ended: whatever is missing after that was rolled back. Other transactions, however
    long, hold nothing up.
    """

    def __init__(self) -> None:
        self.position: int | None = None
        """The id up to which everything has been read; None until that is known for the first time."""
        self._limit = 0
        self._writers: frozenset[str] | None = None

    def read(self, tx: Transaction) -> list[EventKey]:
        """Return what has happened since the last call; the first calls only find the position."""
        events = Events(tx)
        if self.position is None:
            if self._writers is None:
                self._limit = events.newest_id()
            if self._have_ended(events):
                self.position = self._limit
            return []
        found = events.after(self.position, MOST_AT_ONCE)
        ready = _gapless(found, self.position)
        if len(ready) < len(found):
            if self._writers is None:
                self._limit = found[-1].id
            if self._have_ended(events):
                found = events.after(self.position, MOST_AT_ONCE)  # what they have committed
                ready = [event for event in found if event.id <= self._limit]
        if ready:
            self.position = ready[-1].id
            if self.position >= self._limit:
                self._writers = None
        return ready

    def _have_ended(self, events: Events) -> bool:
        """Return whether all transactions have ended that may append events up to the limit."""
        writers = events.writers()
        self._writers = writers if self._writers is None else self._writers & writers
        if self._writers:
            return False
        self._writers = None
        return True


def _gapless(events: list[EventKey], position: int) -> list[EventKey]:
    """Return the events up to the first missing id."""
    for index, event in enumerate(events):
        if event.id != position + 1 + index:
            return events[:index]
    return events
