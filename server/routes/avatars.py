"""The routes of avatars."""

from typing import Self

from litestar import Controller, get
from litestar.di import NamedDependency
from litestar.params import FromPath

from server.avatars import service
from server.avatars.tables import Avatar
from server.http.bodies import View, WireTime
from server.http.request import ApiRequest
from server.http.services import Services
from server.images.links import Links
from server.images.store import Variant


class TraitsView(View):
    """The persona and the looks as an avatar keeps them: the personality is JSON text."""

    persona_name: str | None
    persona_age: int | None
    persona_personality: str | None
    persona_background: str | None
    gender: str | None
    age_range: str | None
    ethnicity: str | None
    body_type: str | None
    hair_style: str | None
    hair_color: str | None
    eye_color: str | None
    skin_tone: str | None
    style: str | None


class AvatarView(TraitsView):
    """An avatar. Its image paths open in a browser without a header."""

    id: str
    user_id: str
    project_id: str
    name: str
    base_image_url: str = ""
    thumbnail_url: str = ""
    source_type: str
    generation_prompt: str | None
    seed_used: int | None
    usage_count: int
    last_used_at: WireTime | None
    created_at: WireTime
    updated_at: WireTime

    @classmethod
    def of(cls, avatar: Avatar, links: Links) -> Self:
        """Return an avatar with the paths of its image."""
        paths = {
            "base_image_url": links.path(avatar.image_key, Variant.FULL),
            "thumbnail_url": links.path(avatar.image_key, Variant.THUMBNAIL),
        }
        return cls.model_validate(avatar).model_copy(update=paths)


class AvatarAnswer(View):
    """One avatar."""

    avatar: AvatarView


class AvatarController(Controller):
    """Read avatars."""

    path = "/avatars"
    tags = ("avatars",)

    @get("/{avatar_id:str}", sync_to_thread=True)
    def get(
        self, avatar_id: FromPath[str], request: ApiRequest, services: NamedDependency[Services]
    ) -> AvatarAnswer:
        """Read one avatar."""
        avatar = service.get(services.uow, request.user, avatar_id)
        return AvatarAnswer(avatar=AvatarView.of(avatar, services.links))
