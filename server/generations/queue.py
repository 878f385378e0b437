"""The pending generations in the database, as a queue."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlalchemy import bindparam, func, select

from catalog.tiers import Tier
from server.accounts.tables import User
from server.db.unit_of_work import Repository
from server.generations.states import Status
from server.generations.tables import Generation

_GENERATIONS: Final = Generation.core()
_DEPTH: Final = (
    select(func.count()).select_from(_GENERATIONS).where(_GENERATIONS.c.status == Status.PENDING.value)
)
_ANY: Final = select(_GENERATIONS.c.id).where(_GENERATIONS.c.status == Status.PENDING.value).limit(1)
_OF_USER_BEFORE: Final = _DEPTH.where(
    _GENERATIONS.c.user_id == bindparam("of_user"), _GENERATIONS.c.created_at < bindparam("before")
)
_WAITING: Final = (
    select(User.tier, func.count(), func.min(Generation.created_at))
    .join(User, User.id == Generation.user_id)
    .where(Generation.status == Status.PENDING)
    .group_by(User.tier)
)


@dataclass(frozen=True)
class Head:
    """The oldest pending generation of one user."""

    generation_id: str
    user_id: str
    model_id: str
    created_at: datetime
    last_claimed_at: datetime | None


@dataclass(frozen=True)
class Waiting:
    """How many generations of one user wait, and what decides the user's turn."""

    user_id: str
    count: int
    oldest: datetime
    last_claimed_at: datetime | None


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

    def waiting_by_user(self) -> list[Waiting]:
        """Return how many generations of each user wait."""
        rows = self._session.execute(
            select(Generation.user_id, func.count(), func.min(Generation.created_at), User.last_claimed_at)
            .join(User, User.id == Generation.user_id)
            .where(Generation.status == Status.PENDING)
            .group_by(Generation.user_id, User.last_claimed_at)
        )
        return [Waiting(*row) for row in rows]

    def of_user_before(self, user_id: str, moment: datetime) -> int:
        """Return how many generations of a user wait that were submitted before a moment."""
        of = {"of_user": user_id, "before": moment}
        return self._session.connection().scalar(_OF_USER_BEFORE, of) or 0

    def failed_over(self) -> int:
        """Return how many pending generations failed over to another backend."""
        waiting = Generation.status == Status.PENDING
        return self._session.scalar(select(func.count()).where(waiting, Generation.failed_over)) or 0

    def heads(
        self,
        failed_over: bool | None,
        most: int,
        *,
        max_losses: int | None = None,
        without: Collection[str] = (),
    ) -> list[Head]:
        """Return the oldest pending generation of each user, of those users first who waited longest.

        failed_over: True or False selects by whether they failed over; None takes all. max_losses: those
        that lost so many workers are left out. without: ids that are left out.
        """
        due = [Generation.status == Status.PENDING]
        if max_losses is not None:
            due.append(Generation.losses < max_losses)
        if without:
            due.append(Generation.id.not_in(without))
        if failed_over is not None:
            due.append(Generation.failed_over == failed_over)
        waiting = (
            select(Generation.user_id, func.min(Generation.created_at).label("created_at"))
            .where(*due)
            .group_by(Generation.user_id)
            .subquery()
        )
        rows = self._session.execute(
            select(
                Generation.id,
                Generation.user_id,
                Generation.model_id,
                Generation.created_at,
                User.last_claimed_at,
            )
            .join(
                waiting,
                (Generation.user_id == waiting.c.user_id) & (Generation.created_at == waiting.c.created_at),
            )
            .join(User, User.id == Generation.user_id)
            .where(*due)
            .order_by(User.last_claimed_at.asc().nulls_first(), Generation.created_at)
            .limit(most)
        )
        return [Head(*row) for row in rows]

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
