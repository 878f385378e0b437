"""The use cases of avatars."""

from server.avatars.repository import Avatars
from server.avatars.tables import Avatar
from server.caller import Caller
from server.db.unit_of_work import UnitOfWork


def get(uow: UnitOfWork, caller: Caller, avatar_id: str) -> Avatar:
    """Return one of the caller's avatars.

    Raises:
        NotFound: there is none of this id, or it is another user's.

    """
    with uow.read() as tx:
        return Avatars(tx).owned_by(caller.user_id, avatar_id)
