"""The tables of users, their API keys and their sign-in codes."""

from datetime import datetime

from sqlalchemy import CheckConstraint, ForeignKey, String, false
from sqlalchemy.orm import Mapped, mapped_column

from server.clock import now
from server.db.base import DELETABLE, Table


class User(Table):
    """Who may ask. The id may come from the existing platform, so its form is not ours."""

    __tablename__ = "users"
    __table_args__ = (CheckConstraint("tier IN ('free', 'basic', 'pro', 'enterprise')", name="tier"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    email: Mapped[str | None] = mapped_column(String(320), index=True, unique=True)
    """In lower case. Two users never have the same."""
    tier: Mapped[str] = mapped_column(String(16))
    is_operator: Mapped[bool] = mapped_column(server_default=false())
    """Whether the user may see and change what the routes of operators show."""
    chosen_entry: Mapped[str | None] = mapped_column(String(128))
    """The key of the entry that the user's client has chosen before it asks, as clients of A1111 do."""
    created_at: Mapped[datetime] = mapped_column(default=now)
    last_claimed_at: Mapped[datetime | None]
    """Written by workers before revision 0017 only, whose fair queue ordered users by it."""
    deleted_at: Mapped[datetime | None]
    """Set on the tombstone of a deleted user: the id stays taken, and no second welcome is given."""


class ApiKey(Table):
    """A bearer token that this server issued. Only its digest is stored."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    label: Mapped[str]
    prefix: Mapped[str] = mapped_column(String(16), index=True)
    digest: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    last_used_at: Mapped[datetime | None]
    """To the minute."""
    expires_at: Mapped[datetime | None]
    revoked_at: Mapped[datetime | None]


class SignInCode(Table):
    """A code that a link to the page carries. Only its digest is stored; who uses it deletes it."""

    __tablename__ = "sign_in_codes"
    __table_args__ = (DELETABLE,)

    digest: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    expires_at: Mapped[datetime] = mapped_column(index=True)
