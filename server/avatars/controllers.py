"""The routes of avatars."""

from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from server.auth.users import Caller
from server.avatars.schemas import AvatarAnswer, AvatarView
from server.db.unit_of_work import UnitOfWork
from server.images.links import Links


class AvatarController(Controller):
    """Read avatars."""

    path = "/avatars"
    tags = ("avatars",)

    @get("/{avatar_id:str}", sync_to_thread=True)
    def get(
        self,
        avatar_id: FromPath[str],
        caller: NamedDependency[Caller],
        uow: NamedDependency[UnitOfWork],
        links: NamedDependency[Links],
    ) -> AvatarAnswer:
        """Read one avatar."""
        with uow.read() as tx:
            avatar = tx.avatars.owned_by(caller.user_id, avatar_id)
        return AvatarAnswer(avatar=AvatarView.of(avatar, links))
