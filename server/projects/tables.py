"""The table of projects."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from server.clock import now
from server.db.base import DELETABLE, Table


class Project(Table):
    """A user's folder of avatars."""

    __tablename__ = "projects"
    __table_args__ = (Index("ix_projects_owner", "user_id", "created_at"), DELETABLE)

    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str] = mapped_column(String(100))
    description: Mapped[str | None] = mapped_column(String(500))
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now, onupdate=now)
