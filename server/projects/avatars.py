"""The use cases of avatars that show their project; those that do not are in `server.avatars.service`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from server.avatars.repository import Avatars
from server.caller import Caller
from server.db.unit_of_work import UnitOfWork
from server.projects.repository import AvatarInProject, Projects


@dataclass(frozen=True)
class Page:
    """Some of a user's avatars, newest first. total: how many the user has."""

    avatars: list[AvatarInProject]
    total: int
    limit: int | None
    offset: int

    @property
    def has_more(self) -> bool:
        """Whether older avatars follow."""
        return self.offset + len(self.avatars) < self.total


def get(uow: UnitOfWork, caller: Caller, avatar_id: str) -> AvatarInProject:
    """Return one of the caller's avatars.

    Raises:
        NotFound: there is none of this id, or it is another user's.

    """
    with uow.read() as tx:
        return Projects(tx).avatar(caller.user_id, avatar_id)


def list_page(uow: UnitOfWork, caller: Caller, limit: int | None = None, offset: int = 0) -> Page:
    """Return the caller's avatars, newest first. limit: None returns all."""
    with uow.read() as tx:
        avatars = Projects(tx).avatars(caller.user_id, limit, offset)
        total = Avatars(tx).count(caller.user_id)
    return Page(avatars, total, limit, offset)


def update(uow: UnitOfWork, caller: Caller, avatar_id: str, changes: Mapping[str, Any]) -> AvatarInProject:
    """Change the name or traits of one of the caller's avatars; what is not named stays.

    Raises:
        NotFound: there is none of this id, or it is another user's.

    """
    with uow.begin() as tx:
        if changes:
            Avatars(tx).change(caller.user_id, avatar_id, changes)
        return Projects(tx).avatar(caller.user_id, avatar_id)
