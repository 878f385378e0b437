"""The tables of avatars and of their uses."""

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from sqlalchemy import BigInteger, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from catalog.traits import Traits
from server.clock import now
from server.db.base import APPEND_ONLY, DELETABLE, Serial, Table

UPLOADED: Final = "uploaded"
"""The source type of an avatar whose image its user brought."""


class TraitColumns:
    """The columns of catalog.traits.Traits, one for each trait. The personality is JSON text."""

    persona_name: Mapped[str | None] = mapped_column(String(100))
    persona_age: Mapped[int | None]
    persona_personality: Mapped[str | None] = mapped_column(Text)
    persona_background: Mapped[str | None] = mapped_column(String(500))
    gender: Mapped[str | None]
    age_range: Mapped[str | None]
    ethnicity: Mapped[str | None]
    body_type: Mapped[str | None]
    hair_style: Mapped[str | None]
    hair_color: Mapped[str | None]
    eye_color: Mapped[str | None]
    skin_tone: Mapped[str | None]
    style: Mapped[str | None]


class Avatar(TraitColumns, Table):
    """A finished avatar, the one owner of its image."""

    __tablename__ = "avatars"
    __table_args__ = (
        Index("ix_avatars_project", "project_id", "created_at"),
        Index("ix_avatars_owner", "user_id", "created_at"),
        DELETABLE,
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    generation_id: Mapped[str | None] = mapped_column(unique=True)
    name: Mapped[str] = mapped_column(String(100))
    image_key: Mapped[str] = mapped_column(unique=True)
    image_sha256: Mapped[str]
    source_type: Mapped[str] = mapped_column(String(32))
    generation_prompt: Mapped[str | None] = mapped_column(Text)
    seed_used: Mapped[int | None] = mapped_column(BigInteger)
    usage_count: Mapped[int] = mapped_column(default=0)
    last_used_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now, onupdate=now)


class AvatarUse(Table):
    """One use of an avatar in an application. It is deleted with its avatar."""

    __tablename__ = "avatar_uses"
    __table_args__ = (Index("ix_avatar_uses_avatar", "avatar_id", "id"), APPEND_ONLY)

    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    avatar_id: Mapped[str] = mapped_column(ForeignKey("avatars.id", ondelete="CASCADE"))
    app_id: Mapped[str]
    app_name: Mapped[str] = mapped_column(String(100))
    action: Mapped[str]
    reference_id: Mapped[str | None] = mapped_column(String(100))
    reference_type: Mapped[str | None]
    details: Mapped[str | None] = mapped_column("metadata", Text)
    """What the application says about the use: a JSON object as text."""
    created_at: Mapped[datetime] = mapped_column(default=now)


def trait_values(traits: Traits) -> dict[str, Any]:
    """Return the traits as the values of TraitColumns."""
    return column_values(traits.to_json())


def column_values(changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return new values of an avatar's attributes as its columns keep them: the personality as JSON text."""
    words = changes.get("persona_personality")
    return dict(changes) | ({} if words is None else {"persona_personality": json.dumps(words)})
