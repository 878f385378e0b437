"""The routes of avatars."""

from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from server.avatars.schemas import AvatarAnswer, AvatarView
from server.envelope import ApiRequest
from server.services import Services


class AvatarController(Controller):
    """Read avatars."""

    path = "/avatars"
    tags = ("avatars",)

    @get("/{avatar_id:str}", sync_to_thread=True)
    def get(
        self, avatar_id: FromPath[str], request: ApiRequest, services: NamedDependency[Services]
    ) -> AvatarAnswer:
        """Read one avatar."""
        with services.uow.read() as tx:
            avatar = tx.avatars.owned_by(request.user.user_id, avatar_id)
        return AvatarAnswer(avatar=AvatarView.of(avatar, services.links))
