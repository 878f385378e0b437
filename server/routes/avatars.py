"""The routes of avatars."""

from typing import Annotated, Any, Final, Self

from litestar import Controller, delete, get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from pydantic import BeforeValidator, Field
from pydantic_core import PydanticCustomError, from_json

from server.avatars import service
from server.avatars.tables import Avatar
from server.http.bodies import Message, Name, View, WireTime, Word, examples
from server.http.request import ApiRequest
from server.http.services import Services
from server.images.links import Links
from server.images.store import Variant
from server.projects import avatars
from server.projects.avatars import Page
from server.projects.repository import AvatarInProject
from server.routes.generation_bodies import TraitsBody

MAX_LIMIT: Final = 100
MAX_OFFSET: Final = 2**31 - 1  # what every database can count

Limit = Annotated[
    int | None,
    QueryParameter(ge=1, le=MAX_LIMIT, description="How many to return at most; all of them without it."),
]
Offset = Annotated[int, QueryParameter(ge=0, le=MAX_OFFSET, description="How many of the newest to skip.")]


def _decoded(personality: Any) -> Any:
    """Read a personality that is JSON text, as an answer has it; leave anything else to its type."""
    if not isinstance(personality, str):
        return personality
    try:
        return from_json(personality)
    except ValueError as error:
        raise PydanticCustomError("json_text", "Text must be a JSON list") from error


JsonText = Annotated[str, Field(json_schema_extra={"contentMediaType": "application/json"})]
Personality = Annotated[list[Word], Field(max_length=10)] | JsonText | None


class UpdateAvatar(TraitsBody):
    """The body of PUT /avatars/{id}. What is absent stays; a trait of null is removed.

    The personality may be a list or the same as JSON text.
    """

    model_config = examples({"name": "Grace", "personaAge": 42, "personaPersonality": '["calm"]'})

    name: Name = Field(default_factory=str)  # never used: `changes` has only what was named
    persona_personality: Annotated[
        list[Word] | None,
        Field(max_length=10),
        BeforeValidator(_decoded, json_schema_input_type=Personality),
    ] = None


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


class ProjectName(View):
    """The project that an avatar belongs to."""

    id: str
    name: str


class AvatarInProjectView(AvatarView):
    """An avatar with its project."""

    project: ProjectName | None = None

    @classmethod
    def within(cls, found: AvatarInProject, links: Links) -> Self:
        """Return an avatar with the paths of its image and its project."""
        project = ProjectName.model_validate(found.project)
        return cls.of(found.avatar, links).model_copy(update={"project": project})


class AvatarAnswer(View):
    """One avatar."""

    avatar: AvatarInProjectView


class AvatarChanged(AvatarAnswer):
    """One avatar that was changed."""

    message: str


class AvatarPage(View):
    """Which avatars a list has. total: how many there are. limit: None if all were asked for."""

    total: int
    limit: int | None
    offset: int
    has_more: bool


class AvatarList(View):
    """Some of a user's avatars, newest first."""

    avatars: list[AvatarInProjectView]
    meta: AvatarPage

    @classmethod
    def of(cls, page: Page, links: Links) -> Self:
        """Return a page with the paths of its images."""
        views = [AvatarInProjectView.within(one, links) for one in page.avatars]
        return cls(avatars=views, meta=AvatarPage.model_validate(page))


class AvatarController(Controller):
    """List, read, change and delete avatars."""

    path = "/avatars"
    tags = ("avatars",)

    @get(sync_to_thread=True)
    def list_page(
        self,
        request: ApiRequest,
        services: NamedDependency[Services],
        limit: Limit = None,
        offset: Offset = 0,
    ) -> AvatarList:
        """List the caller's avatars, newest first."""
        page = avatars.list_page(services.uow, request.user, limit, offset)
        return AvatarList.of(page, services.links)

    @get("/{avatar_id:str}", sync_to_thread=True)
    def get(
        self, avatar_id: FromPath[str], request: ApiRequest, services: NamedDependency[Services]
    ) -> AvatarAnswer:
        """Read one avatar."""
        found = avatars.get(services.uow, request.user, avatar_id)
        return AvatarAnswer(avatar=AvatarInProjectView.within(found, services.links))

    @put("/{avatar_id:str}", sync_to_thread=True)
    def update(
        self,
        avatar_id: FromPath[str],
        data: JSONBody[UpdateAvatar],
        request: ApiRequest,
        services: NamedDependency[Services],
    ) -> AvatarChanged:
        """Change the name or traits of an avatar."""
        found = avatars.update(services.uow, request.user, avatar_id, data.changes())
        avatar = AvatarInProjectView.within(found, services.links)
        return AvatarChanged(message="Avatar updated successfully", avatar=avatar)

    @delete("/{avatar_id:str}", status_code=200, sync_to_thread=True)
    def delete(
        self, avatar_id: FromPath[str], request: ApiRequest, services: NamedDependency[Services]
    ) -> Message:
        """Delete an avatar with its files. The generation that made it stays."""
        service.delete(services.uow, services.images.discard, request.user, avatar_id)
        return Message(message="Avatar deleted successfully")
