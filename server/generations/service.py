"""The use cases of generations that only read; `submission` accepts one, `settlement` ends one."""

from dataclasses import dataclass

from catalog.entries import Entry
from server.avatars.repository import Avatars
from server.caller import Caller
from server.db.unit_of_work import Transaction, UnitOfWork
from server.entries.repository import Entries
from server.generations.repository import Generations
from server.generations.tables import Generation


def get(uow: UnitOfWork, caller: Caller, generation_id: str) -> Generation:
    """Return one of the caller's generations.

    Raises:
        NotFound: there is none of this id, or it is another user's.

    """
    with uow.read() as tx:
        return Generations(tx).owned_by(caller.user_id, generation_id)


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


def usage(uow: UnitOfWork, caller: Caller) -> list[tuple[Entry, int]]:
    """Return the entries that the caller was delivered, and how often, the most used first."""
    with uow.read() as tx:
        uses = Generations(tx).uses_by(caller.user_id)
        entries = Entries(tx).all()
    used = [(entry, uses[entry.key]) for entry in entries if entry.key in uses]
    return sorted(used, key=lambda use: (-use[1], use[0].key))
