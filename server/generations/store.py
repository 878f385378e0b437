"""Generations in the database: every change is a compare-and-set, so two processes cannot both make it."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import bindparam, func, insert, select, update
from sqlalchemy.orm import Session

from server.clock import now
from server.db.tables import Generation, User
from server.errors import NotFound
from server.generations.states import Reason, Status, check
from server.generations.turns import Head, next_of

HEADS: Final = 32  # users considered for one claim; those served longest ago come first
CLAIM_TRIES: Final = 8  # lost races against other workers before a claim gives up until the next bell


@dataclass(frozen=True)
class Claim:
    """A worker's right to one attempt at a generation."""

    generation_id: str
    attempt: int
    worker: str


class LeaseLost(Exception):
    """The generation no longer belongs to this attempt: cancelled, timed out or given to another worker."""

    def __init__(self, claim: Claim) -> None:
        super().__init__(f"attempt {claim.attempt} at {claim.generation_id} has lost its lease")
        self.claim = claim


_GENERATIONS: Final = Generation.core()
_ADD: Final = insert(_GENERATIONS)
_COLUMNS: Final = tuple(column.key for column in _GENERATIONS.columns)
_DEPTH: Final = (
    select(func.count()).select_from(_GENERATIONS).where(_GENERATIONS.c.status == Status.PENDING.value)
)

_HELD: Final = select(_GENERATIONS.c.id).where(
    _GENERATIONS.c.id == bindparam("of_generation"),
    _GENERATIONS.c.attempt == bindparam("of_attempt"),
    _GENERATIONS.c.status == Status.PROCESSING.value,
)


class Generations:
    """Reads and changes generations inside the caller's transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, generation: Generation) -> None:
        """Add a pending generation, all its columns set."""
        row = {name: getattr(generation, name) for name in _COLUMNS}
        self._session.connection().execute(_ADD, row)

    def get(self, generation_id: str) -> Generation | None:
        """Return a generation, whoever owns it."""
        return self._session.get(Generation, generation_id)

    def owned_by(self, user_id: str, generation_id: str) -> Generation:
        """Return a user's generation.

        Raises:
            NotFound: there is none of this id, or it is another user's.

        """
        generation = self.get(generation_id)
        if generation is None or generation.user_id != user_id:
            raise NotFound("Generation")
        return generation

    def depth(self) -> int:
        """Return how many generations wait."""
        return self._session.connection().scalar(_DEPTH) or 0

    def oldest_pending(self, most: int) -> list[str]:
        """Return the ids of those that wait longest."""
        found = self._session.scalars(
            select(Generation.id)
            .where(Generation.status == Status.PENDING)
            .order_by(Generation.created_at)
            .limit(most)
        )
        return list(found)

    def passed_on(self) -> int:
        """Return how many wait for another backend than the one that failed to draw them."""
        waiting = Generation.status == Status.PENDING
        return self._session.scalar(select(func.count()).where(waiting, Generation.passed_on)) or 0

    def claim(
        self, worker: str, lease_s: float, resident: Collection[str], *, passed_on: bool | None = None
    ) -> tuple[Claim, Generation] | None:
        """Give a worker the next pending generation and a lease on it; None if none waits.

        passed_on: only such as were passed on, or only such as were not; None: whichever is due.
        """
        for _ in range(CLAIM_TRIES):
            moment = now()
            head = next_of(self._heads(passed_on), resident, moment)
            if head is None:
                return None
            claimed = self._change(
                Status.PENDING,
                Status.PROCESSING,
                Generation.id == head.generation_id,
                attempt=Generation.attempt + 1,
                worker=worker,
                lease_until=moment + timedelta(seconds=lease_s),
                started_at=moment,
            )
            if claimed:
                self._session.execute(
                    update(User).where(User.id == head.user_id).values(last_claimed_at=moment)
                )
                return Claim(head.generation_id, claimed[0].attempt, worker), claimed[0]
        return None

    def renew(self, claim: Claim, lease_s: float) -> None:
        """Lengthen a lease on progress.

        Raises:
            LeaseLost: it is no longer this attempt's.

        """
        renewed = self._session.scalar(
            update(Generation)
            .where(*_held(claim), Generation.status == Status.PROCESSING)
            .values(lease_until=now() + timedelta(seconds=lease_s))
            .returning(Generation.id)
        )
        if renewed is None:
            raise LeaseLost(claim)

    def check_lease(self, claim: Claim) -> None:
        """Let a claim pass that still holds its generation.

        Raises:
            LeaseLost: it does not.

        """
        of = {"of_generation": claim.generation_id, "of_attempt": claim.attempt}
        if self._session.connection().scalar(_HELD, of) is None:
            raise LeaseLost(claim)

    def complete(self, claim: Claim, avatar_id: str, making: Mapping[str, Any]) -> Generation:
        """End an attempt well. making: what the image was made with, as JSON values.

        Raises:
            LeaseLost: it is no longer this attempt's to end.

        """
        values = {"avatar_id": avatar_id, "making": dict(making), "completed_at": now()}
        return self._end(claim, Status.COMPLETED, **values)

    def release(self, claim: Claim, **values: Any) -> Generation:
        """Return a generation to the queue without counting the attempt as a loss.

        Raises:
            LeaseLost: it is no longer this attempt's to return.

        """
        return self._end(claim, Status.PENDING, **values)

    def fail(self, claim: Claim, reason: Reason, message: str) -> Generation:
        """End an attempt badly.

        Raises:
            LeaseLost: it is no longer this attempt's to end.

        """
        return self._end(claim, Status.FAILED, **_failure(reason, message))

    def fail_waiting(self, generation_ids: Iterable[str], reason: Reason, message: str) -> list[Generation]:
        """Fail those of the generations that still wait; return them."""
        ids = Generation.id.in_(list(generation_ids))
        return self._change(Status.PENDING, Status.FAILED, ids, **_failure(reason, message))

    def fail_running(self, generation_ids: Iterable[str], reason: Reason, message: str) -> list[Generation]:
        """Fail those of the generations that are being drawn, fencing their workers out; return them."""
        ids = Generation.id.in_(list(generation_ids))
        return self._change(Status.PROCESSING, Status.FAILED, ids, **_failure(reason, message))

    def lose(self, *, worker: str | None = None) -> list[Generation]:
        """Return to the queue what a dead worker held, or by default all whose lease has run out."""
        lost = Generation.worker == worker if worker else Generation.lease_until < now()
        return self._change(Status.PROCESSING, Status.PENDING, lost, losses=Generation.losses + 1)

    def poisonous(self, max_attempts: int) -> list[str]:
        """Return the ids of those that wait and have lost too many workers."""
        found = self._session.scalars(
            select(Generation.id).where(
                Generation.status == Status.PENDING, Generation.losses >= max_attempts
            )
        )
        return list(found)

    def waiting_since_before(self, moment: datetime) -> list[str]:
        """Return the ids of those that wait and were submitted before a moment."""
        found = self._session.scalars(
            select(Generation.id).where(Generation.status == Status.PENDING, Generation.created_at < moment)
        )
        return list(found)

    def _heads(self, passed_on: bool | None) -> list[Head]:
        due = [Generation.status == Status.PENDING]
        if passed_on is not None:
            due.append(Generation.passed_on == passed_on)
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
            .limit(HEADS)
        )
        return [Head(*row) for row in rows]

    def _end(self, claim: Claim, target: Status, **values: Any) -> Generation:
        ended = self._change(Status.PROCESSING, target, *_held(claim), **values)
        if not ended:
            raise LeaseLost(claim)
        return ended[0]

    def _change(self, source: Status, target: Status, *where: Any, **values: Any) -> list[Generation]:
        """Change what is in one status into another; a lease ends with whatever ends `processing`."""
        check(source, target)
        if target is not Status.PROCESSING:
            values["lease_until"] = None
        changed = self._session.scalars(
            update(Generation)
            .where(Generation.status == source, *where)
            .values(status=target.value, updated_at=now(), **values)
            .returning(Generation)
            .execution_options(synchronize_session=False, populate_existing=True)
        )
        return list(changed)


def _held(claim: Claim) -> tuple[Any, ...]:
    return Generation.id == claim.generation_id, Generation.attempt == claim.attempt


def _failure(reason: Reason, message: str) -> dict[str, Any]:
    return {
        "error_code": reason.value,
        "error_message": f"{reason}: {message}",
        "completed_at": now(),
    }
