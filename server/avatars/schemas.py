"""Avatars on the wire, and the traits that a request gives them."""

from typing import Annotated, Literal, Self

from pydantic import Field

from catalog.prompts import Appearance, Persona
from server.db.tables import Avatar
from server.images.links import Links
from server.images.store import Variant
from server.schemas import Request, View, WireTime, Word


class Traits(Request):
    """The persona and the looks that a request may name. All optional."""

    persona_name: Annotated[str | None, Field(max_length=100)] = None
    persona_age: Annotated[int | None, Field(ge=1, le=120)] = None
    persona_personality: Annotated[list[Word] | None, Field(max_length=10)] = None
    persona_background: Annotated[str | None, Field(max_length=500)] = None
    gender: Literal["male", "female", "unisex"] | None = None
    age_range: Literal["young", "adult", "mature"] | None = None
    ethnicity: Word | None = None
    body_type: Word | None = None
    hair_style: Word | None = None
    hair_color: Word | None = None
    eye_color: Word | None = None
    skin_tone: Word | None = None
    style: Word | None = None

    def appearance(self) -> Appearance:
        """Return the looks as the prompt builder takes them."""
        return Appearance(
            gender=self.gender,
            age_range=self.age_range,
            ethnicity=self.ethnicity,
            body_type=self.body_type,
            hair_style=self.hair_style,
            hair_color=self.hair_color,
            eye_color=self.eye_color,
            skin_tone=self.skin_tone,
            style=self.style,
        )

    def persona(self) -> Persona:
        """Return the persona as the prompt builder takes it."""
        return Persona(
            name=self.persona_name,
            age=self.persona_age,
            personality=tuple(self.persona_personality or ()),
            background=self.persona_background,
        )


class AvatarView(View):
    """An avatar. Its image paths open in a browser without a header."""

    id: str
    user_id: str
    project_id: str
    name: str
    base_image_url: str = ""
    thumbnail_url: str = ""
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
