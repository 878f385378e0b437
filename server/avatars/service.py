"""The use cases of avatars; `server.projects.avatars` has those that show their project."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from server.avatars.repository import AppUse, Avatars, AvatarUses
from server.avatars.tables import AvatarUse
from server.caller import Caller
from server.clock import now
from server.db.unit_of_work import UnitOfWork

HISTORY: Final = 100  # the newest uses that are shown, and the applications that are summed up

Discard = Callable[[Iterable[str]], object]
"""Deletes the files of images that no avatar owns any more, by their keys. It may fail, but never raises."""


@dataclass(frozen=True)
class Use:
    """What an application says about its use of an avatar. details: a JSON object as text."""

    app_id: str
    app_name: str
    action: str
    reference_id: str | None = None
    reference_type: str | None = None
    details: str | None = None


@dataclass(frozen=True)
class UsageHistory:
    """The newest uses of an avatar, the newest first, and what they add up to for each application."""

    uses: list[AvatarUse]
    by_app: list[AppUse]


def delete(uow: UnitOfWork, discard: Discard, caller: Caller, avatar_id: str) -> None:
    """Delete one of the caller's avatars. Its generation stays, and names an avatar that is not found.

    The row goes first: files that a crash leaves are owned by no avatar, and the reaper sweeps them.

    Raises:
        NotFound: there is none of this id, or it is another user's.

    """
    with uow.begin() as tx:
        image_key = Avatars(tx).delete(caller.user_id, avatar_id)
    discard([image_key])


def record_use(uow: UnitOfWork, caller: Caller, avatar_id: str, use: Use) -> None:
    """Record a use of one of the caller's avatars, and count it.

    Raises:
        NotFound: there is none of this id, or it is another user's.

    """
    with uow.begin() as tx:
        moment = now()
        Avatars(tx).count_use(caller.user_id, avatar_id, moment)
        AvatarUses(tx).add(AvatarUse(avatar_id=avatar_id, created_at=moment, **vars(use)))


def usage_history(uow: UnitOfWork, caller: Caller, avatar_id: str) -> UsageHistory:
    """Return the uses of one of the caller's avatars.

    Raises:
        NotFound: there is none of this id, or it is another user's.

    """
    with uow.read() as tx:
        Avatars(tx).owned_by(caller.user_id, avatar_id)
        uses = AvatarUses(tx)
        return UsageHistory(uses.newest(avatar_id, HISTORY), uses.by_app(avatar_id, HISTORY))
