"""Generations in the database: every change is a compare-and-set, so two processes cannot both make it."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, Final, NamedTuple

from sqlalchemy import (
    ColumnElement,
    Select,
    UpdateBase,
    bindparam,
    delete,
    func,
    insert,
    select,
    update,
)

from catalog.orders import Order, Provenance
from server.clock import now
from server.db.base import one_of
from server.db.unit_of_work import Repository
from server.errors import NotFound
from server.generations.claims import Claim, LeaseLost
from server.generations.lanes import NO_LIMIT, Lane
from server.generations.starting import COLUMNS, JOIN, JOIN_WITHIN, START, START_WITHIN
from server.generations.states import UNFINISHED, Reason, Status, check
from server.generations.tables import Generation
from server.generations.turns import STEP_S

_GENERATIONS: Final = Generation.core()
_ADD: Final = insert(_GENERATIONS)

_HELD: Final = select(_GENERATIONS.c.id).where(
    _GENERATIONS.c.id == bindparam("of_generation"),
    _GENERATIONS.c.attempt == bindparam("of_attempt"),
    _GENERATIONS.c.status == Status.PROCESSING.value,
)
_LOCKED: Final = _HELD.with_for_update(key_share=True)


class Ended(NamedTuple):
    """How a generation ended, and when."""

    status: str
    provenance: Provenance | None
    error_code: str | None
    started_at: datetime | None
    completed_at: datetime | None


_ENDED: Final = (
    Generation.status,
    Generation.provenance,
    Generation.error_code,
    Generation.started_at,
    Generation.completed_at,
)


class Generations(Repository):
    """Reads and changes generations. What waits is read through `queue.PendingQueue`."""

    def add(self, generation: Generation) -> None:
        """Add a pending generation, all its columns set."""
        row = {name: getattr(generation, attribute) for name, attribute in COLUMNS.items()}
        self._session.connection().execute(_ADD, row)

    def owned_by(self, user_id: str, generation_id: str) -> Generation:
        """Return a user's generation.

        Raises:
            NotFound: there is none of this id, or it is another user's.

        """
        # The owner stands in the query: a row that is loaded and then refused takes longer than none.
        owned = select(Generation).where(Generation.id == generation_id, Generation.user_id == user_id)
        generation = self._session.scalar(owned)
        if generation is None:
            raise NotFound("Generation")
        return generation

    def all_of(self, generation_ids: Iterable[str]) -> list[Generation]:
        """Return the generations of some ids, whosever they are."""
        return list(self._session.scalars(select(Generation).where(self._one_of(generation_ids))))

    def newest_of(
        self,
        user_id: str,
        limit: int,
        *,
        after: tuple[datetime, str] | None = None,
        status: Status | None = None,
        project_id: str | None = None,
    ) -> list[Generation]:
        """Return a user's newest generations, after a row's creation time and id if given."""
        statement = select(Generation).where(Generation.user_id == user_id)
        if after is not None:
            moment, row_id = after
            same_moment = (Generation.created_at == moment) & (Generation.id < row_id)
            following = (Generation.created_at < moment) | same_moment
            # The first condition says the same as the second, in words that an index can begin at.
            statement = statement.where(Generation.created_at <= moment, following)
        if status is not None:
            statement = statement.where(Generation.status == status)
        if project_id is not None:
            statement = statement.where(Generation.project_id == project_id)
        newest = (Generation.created_at.desc(), Generation.id.desc())
        return list(self._session.scalars(statement.order_by(*newest).limit(limit)))

    def newest_durations(self, entry_key: str, limit: int) -> list[tuple[Order, float]]:
        """Return the orders of an entry's newest images, and the seconds from claim to delivery."""
        rows = self._session.execute(
            select(Generation.order, Generation.started_at, Generation.completed_at)
            .where(Generation.entry_key == entry_key, Generation.status == Status.COMPLETED)
            .order_by(Generation.completed_at.desc())
            .limit(limit)
        )
        return [
            (order, (completed - started).total_seconds())
            for order, started, completed in rows
            if started and completed
        ]

    def delete(self, generation_id: str) -> None:
        """Delete a generation. A worker that still draws it finds its lease lost."""
        self._session.execute(delete(Generation).where(Generation.id == generation_id))

    def delivered_to(self, user_id: str, limit: int) -> list[Generation]:
        """Return the last generations that were delivered to a user, the newest first."""
        statement = (
            select(Generation)
            .where(Generation.user_id == user_id, Generation.status == Status.COMPLETED)
            .order_by(Generation.created_at.desc(), Generation.id)
            .limit(limit)
        )
        return list(self._session.scalars(statement))

    def ended_since(self, moment: datetime, rows_at_once: int) -> Iterator[Ended]:
        """Yield what has ended since a moment, so many rows at once in memory."""
        statement = select(*_ENDED).where(Generation.completed_at >= moment)
        for row in self._session.execute(statement.execution_options(yield_per=rows_at_once)):
            yield Ended(*row)

    def newest_ended(self, entry_key: str, since: datetime, limit: int) -> list[Ended]:
        """Return the newest of an entry's generations that have ended since a moment, newest first."""
        newest = (
            select(*_ENDED)
            .where(Generation.entry_key == entry_key, Generation.completed_at >= since)
            .order_by(Generation.completed_at.desc())
            .limit(limit)
        )
        return [Ended(*row) for row in self._session.execute(newest)]

    def drawn_by_worker(self) -> dict[str, int]:
        """Return how many generations each worker draws at the moment."""
        drawn = (
            select(Generation.worker, func.count())
            .where(Generation.status == Status.PROCESSING)
            .group_by(Generation.worker)
        )
        return {worker: count for worker, count in self._session.execute(drawn) if worker}

    def start_next(
        self,
        lane: Lane,
        worker: str,
        lease_s: float,
        moment: datetime,
        *,
        max_losses: int | None = None,
        max_drawn_per_user: int | None = None,
    ) -> Generation | None:
        """Give a worker the next generation of a lane and a lease on it; None if all that wait are locked.

        max_losses: those that lost so many workers are left out. max_drawn_per_user: those of users of whom
        so many are being drawn are left out.
        """
        values: dict[str, Any] = {
            "of_model": lane.model_id,
            "of_side": lane.failed_over,
            "of_tier": lane.tier.value,
            "of_losses": NO_LIMIT if max_losses is None else max_losses,
        }
        statement = START if max_drawn_per_user is None else START_WITHIN
        return self._start(statement, values, worker, lease_s, moment, max_drawn_per_user)

    def join(
        self,
        first: Generation,
        worker: str,
        lease_s: float,
        moment: datetime,
        *,
        max_drawn_per_user: int | None = None,
    ) -> Generation | None:
        """Give a worker the next generation that can be drawn together with one that it holds.

        None: there is none that is free. What has lost a worker is drawn alone: it may have been the cause.
        """
        values = {"of_key": first.batch_key, "of_side": first.failed_over}
        statement = JOIN if max_drawn_per_user is None else JOIN_WITHIN
        return self._start(statement, values, worker, lease_s, moment, max_drawn_per_user)

    def _start(
        self,
        statement: UpdateBase,
        values: dict[str, Any],
        worker: str,
        lease_s: float,
        moment: datetime,
        max_drawn_per_user: int | None,
    ) -> Generation | None:
        check(Status.PENDING, Status.PROCESSING)
        of_drawn = {} if max_drawn_per_user is None else {"of_drawn": max_drawn_per_user}
        until = moment + timedelta(seconds=lease_s)
        by = {"by_worker": worker, "until": until, "at": moment}
        row = self._session.connection().execute(statement, values | of_drawn | by).one_or_none()
        if row is None:
            return None
        return Generation(**dict(zip(COLUMNS.values(), row, strict=True)))

    def close_ranks(self, gone: Iterable[Generation]) -> None:
        """Move forward what waits behind generations that were given up: they took no turn."""
        for generation in sorted(gone, key=lambda one: one.turn, reverse=True):  # each moves those behind it
            behind = _free(
                Status.PENDING,
                Generation.user_id == generation.user_id,
                Generation.model_id == generation.model_id,
                Generation.turn > generation.turn,
            )
            self._session.execute(
                update(Generation).where(behind).values(turn=Generation.turn - STEP_S),
                execution_options={"synchronize_session": False},
            )

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
        """Check that a claim still holds its generation.

        Raises:
            LeaseLost: it does not.

        """
        self._find(_HELD, claim)

    def lock(self, claim: Claim) -> None:
        """Lock a claim's generation until the transaction ends: what happens to it then happens in turn.

        Raises:
            LeaseLost: the claim does not hold it.

        """
        self._find(_LOCKED, claim)

    def _find(self, statement: Select[tuple[str]], claim: Claim) -> None:
        of = {"of_generation": claim.generation_id, "of_attempt": claim.attempt}
        if self._session.connection().scalar(statement, of) is None:
            raise LeaseLost(claim)

    def complete(self, claim: Claim, avatar_id: str, provenance: Provenance) -> Generation:
        """End an attempt well.

        Raises:
            LeaseLost: it is no longer this attempt's to end.

        """
        values = {"avatar_id": avatar_id, "provenance": provenance, "completed_at": now()}
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
        """Fail those of the generations that still wait and that nobody has locked; return them."""
        ids = _free(Status.PENDING, self._one_of(generation_ids))
        return self._change(Status.PENDING, Status.FAILED, ids, **_failure(reason, message))

    def fail_running(self, generation_ids: Iterable[str], reason: Reason, message: str) -> list[Generation]:
        """Fail those of the generations that are being drawn, fencing their workers out; return them."""
        ids = self._one_of(generation_ids)
        return self._change(Status.PROCESSING, Status.FAILED, ids, **_failure(reason, message))

    def return_lost(self, *, worker: str | None = None) -> list[Generation]:
        """Return to the queue what a dead worker held, or by default all whose lease has run out.

        What somebody has locked is left for the next time.
        """
        lost = Generation.worker == worker if worker else Generation.lease_until < now()
        free = _free(Status.PROCESSING, lost)
        return self._change(Status.PROCESSING, Status.PENDING, free, losses=Generation.losses + 1)

    def unfinished_in(self, project_id: str) -> list[str]:
        """Return the ids of a project's generations that have not ended."""
        found = self._session.scalars(
            select(Generation.id).where(
                Generation.project_id == project_id, Generation.status.in_(UNFINISHED)
            )
        )
        return list(found)

    def lock_unfinished(self, generation_ids: Iterable[str]) -> list[str]:
        """Lock those of the generations that have not ended until the commit; return their ids."""
        locked = self._session.scalars(
            select(Generation.id)
            .where(self._one_of(generation_ids), Generation.status.in_(UNFINISHED))
            .order_by(Generation.id)  # two transactions that lock the same rows do not wait for each other
            .with_for_update()
        )
        return list(locked)

    def delete_all_of(self, project_id: str) -> None:
        """Delete a project's generations. A worker that still draws one finds its lease lost."""
        self._session.execute(delete(_GENERATIONS).where(_GENERATIONS.c.project_id == project_id))

    def _one_of(self, generation_ids: Iterable[str]) -> ColumnElement[bool]:
        return one_of(self._session, Generation.__table__.c.id, generation_ids)

    def _end(self, claim: Claim, target: Status, **values: Any) -> Generation:
        ended = self._change(Status.PROCESSING, target, *_held(claim), **values)
        if not ended:
            raise LeaseLost(claim)
        return ended[0]

    def _change(self, source: Status, target: Status, *where: Any, **values: Any) -> list[Generation]:
        """Change generations from one status to another. Leaving `processing` ends the lease."""
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


def _free(status: Status, *where: Any) -> ColumnElement[bool]:
    """Select rows that no other transaction has locked, and lock them in the order of their ids.

    So no transaction waits for another one's rows, which may be locked for long, and no two for each other.
    """
    rows = select(Generation.id).where(Generation.status == status, *where).order_by(Generation.id)
    return Generation.id.in_(rows.with_for_update(skip_locked=True))


def _failure(reason: Reason, message: str) -> dict[str, Any]:
    return {
        "error_code": reason.value,
        "error_message": f"{reason}: {message}",
        "completed_at": now(),
    }
