"""The pending generations in the database, as a queue."""

from datetime import datetime
from typing import Final, NamedTuple

from sqlalchemy import func, select

from catalog.tiers import Tier
from server.accounts.tables import User
from server.db.unit_of_work import Repository
from server.generations.lanes import HEADS, NO_LIMIT, PENDING, ROOM, Head, Lane
from server.generations.states import Status
from server.generations.tables import Generation
from server.generations.turns import Standing

_GENERATIONS: Final = Generation.core()
_DEPTH: Final = (
    select(func.count()).select_from(_GENERATIONS).where(_GENERATIONS.c.status == Status.PENDING.value)
)
_ANY: Final = select(_GENERATIONS.c.id).where(_GENERATIONS.c.status == Status.PENDING.value).limit(1)
_PLACES: Final = select(_GENERATIONS.c.turn, _GENERATIONS.c.created_at).where(PENDING)
_WAITING: Final = (
    select(User.tier, func.count(), func.min(Generation.created_at))
    .join(User, User.id == Generation.user_id)
    .where(Generation.status == Status.PENDING)
    .group_by(User.tier)
)


class Room(NamedTuple):
    """What decides whether a user's next generation is accepted, and which turn it gets.

    depth: how many wait. unfinished: how many of the user's wait or are drawn.
    """

    depth: int
    unfinished: int
    standing: Standing


class PendingQueue(Repository):
    """Reads which generations wait, and for how long."""

    def any(self) -> bool:
        """Return whether a generation waits."""
        return self._session.connection().scalar(_ANY) is not None

    def depth(self) -> int:
        """Return how many generations wait."""
        return self._session.connection().scalar(_DEPTH) or 0

    def waiting_by_tier(self) -> dict[Tier, tuple[int, datetime]]:
        """Return how many generations of a tier's users wait, and when the oldest was submitted."""
        return {Tier(tier): (depth, oldest) for tier, depth, oldest in self._session.execute(_WAITING)}

    def places(self) -> list[tuple[float, datetime]]:
        """Return the turn and the submission of all that waits, in the fair order."""
        return sorted((turn, created_at) for turn, created_at in self._session.execute(_PLACES))

    def room(self, user_id: str, model_id: str) -> Room:
        """Return what decides whether and when a user's next generation of a model is drawn."""
        of = {"of_user": user_id, "of_model": model_id}
        row = self._session.connection().execute(ROOM, of).one()
        depth, unfinished, drawn_of_model, ridden, drawn, waiting, last, *fronts = row
        front = min((turn for turn in fronts if turn is not None), default=None)
        return Room(depth, unfinished, Standing(drawn_of_model, front, drawn, waiting, last, ridden))

    def heads(self, failed_over: bool | None = None, max_losses: int | None = None) -> list[Head]:
        """Return the heads of all lanes: a few rows from an index, however many wait.

        failed_over: True or False selects by whether they failed over; None takes all. max_losses: those
        that lost so many workers are left out.
        """
        allowed = (False, True) if failed_over is None else (failed_over,)
        of = {"of_losses": NO_LIMIT if max_losses is None else max_losses}
        rows = self._session.connection().execute(HEADS, of)
        return [
            Head(Lane(row.model_id, row.failed_over, Tier(row.tier)), row.turn, row.created_at)
            for row in rows
            if row.turn is not None and row.failed_over in allowed
        ]

    def poisonous(self, max_attempts: int) -> list[str]:
        """Return the ids of pending generations that have lost too many workers."""
        found = self._session.scalars(
            select(Generation.id).where(
                Generation.status == Status.PENDING, Generation.losses >= max_attempts
            )
        )
        return list(found)

    def waiting_since_before(self, moment: datetime) -> list[str]:
        """Return the ids of pending generations that were submitted before a moment."""
        found = self._session.scalars(
            select(Generation.id).where(Generation.status == Status.PENDING, Generation.created_at < moment)
        )
        return list(found)
