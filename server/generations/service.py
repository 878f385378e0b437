"""The use cases of a user's own generations; `submission` accepts one, `settlement` ends one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from catalog.entries import Entry
from server.avatars.repository import Avatars
from server.caller import Caller
from server.credits.repository import Ledger
from server.db.unit_of_work import Transaction, UnitOfWork
from server.entries.repository import Entries
from server.errors import DomainError, NotFound
from server.generations import settlement
from server.generations.repository import Generations
from server.generations.states import Status
from server.generations.tables import Generation


class GenerationEnded(DomainError):
    """The generation has completed or failed already."""

    def __str__(self) -> str:
        return "The generation has ended and cannot be cancelled"


@dataclass(frozen=True)
class Page:
    """Some generations, newest first. more: whether older ones follow."""

    generations: list[Generation]
    more: bool


@dataclass(frozen=True)
class Cancelled:
    """A generation that was cancelled, and the user's credits with its hold given back."""

    generation: Generation
    balance: int


@dataclass(frozen=True)
class Use:
    """One use of an entry: a generation that was delivered, and what it cost.

    entry: None if the catalogue has it no longer.
    """

    generation: Generation
    entry: Entry | None
    credits: int


def get(uow: UnitOfWork, caller: Caller, generation_id: str) -> Generation:
    """Return one of the caller's generations.

    Raises:
        NotFound: there is none of this id, or it is another user's.

    """
    with uow.read() as tx:
        return Generations(tx).owned_by(caller.user_id, generation_id)


def find(uow: UnitOfWork, generation_id: str) -> Generation:
    """Return anybody's generation, for an operator.

    Raises:
        NotFound: there is none of this id.

    """
    with uow.read() as tx:
        found = Generations(tx).all_of([generation_id])
    if not found:
        raise NotFound("Generation")
    return found[0]


def unknown(uow: UnitOfWork, generation_ids: Sequence[str]) -> list[str]:
    """Return those of the ids that no generation has."""
    with uow.read() as tx:
        known = {generation.id for generation in Generations(tx).all_of(generation_ids)}
    return [generation_id for generation_id in generation_ids if generation_id not in known]


@dataclass(frozen=True)
class Followed:
    """A generation with the key of its image, if it is delivered and not deleted."""

    generation: Generation
    image_key: str | None


def follow(tx: Transaction, caller: Caller, generation_id: str) -> Followed:
    """Return one of the caller's generations with what it has come to.

    Raises:
        NotFound: there is none of this id, or it is another user's.

    """
    generation = Generations(tx).owned_by(caller.user_id, generation_id)
    return Followed(generation, Avatars(tx).image_key(generation.avatar_id))


def list_page(
    uow: UnitOfWork,
    caller: Caller,
    limit: int,
    *,
    after: tuple[datetime, str] | None = None,
    status: Status | None = None,
    project_id: str | None = None,
) -> Page:
    """Return the caller's generations, newest first, after a row's creation time and id if given."""
    with uow.read() as tx:
        found = Generations(tx).newest_of(
            caller.user_id, limit + 1, after=after, status=status, project_id=project_id
        )
    return Page(found[:limit], more=len(found) > limit)


def cancel(uow: UnitOfWork, caller: Caller, generation_id: str) -> Cancelled:
    """Cancel one of the caller's generations and give its hold back.

    A worker that draws it stops at its next step.

    Raises:
        NotFound: there is none of this id, or it is another user's.
        GenerationEnded: it has completed or failed; nothing was changed.

    """
    with uow.begin() as tx:
        Generations(tx).owned_by(caller.user_id, generation_id)
        cancelled = settlement.cancel_within(tx, [generation_id])
        if not cancelled:
            raise GenerationEnded
        balance = Ledger(tx).available(caller.user_id)
    settlement.log_failed(cancelled)
    return Cancelled(cancelled[0], balance)


def delete(uow: UnitOfWork, caller: Caller, generation_id: str) -> None:
    """Delete one of the caller's generations, cancelled first if it has not ended. Its avatar stays.

    Raises:
        NotFound: there is none of this id, or it is another user's.

    """
    with uow.begin() as tx:
        Generations(tx).owned_by(caller.user_id, generation_id)
        cancelled = settlement.cancel_within(tx, [generation_id])
        Generations(tx).delete(generation_id)
    settlement.log_failed(cancelled)


def uses(uow: UnitOfWork, caller: Caller, limit: int) -> list[Use]:
    """Return the last uses that the caller made of any entry, the newest first."""
    with uow.read() as tx:
        delivered = Generations(tx).delivered_to(caller.user_id, limit)
        captured = Ledger(tx).captured(generation.id for generation in delivered)
        entries = {entry.key: entry for entry in Entries(tx).all()}
    return [Use(one, entries.get(one.entry_key), captured.get(one.id, 0)) for one in delivered]
