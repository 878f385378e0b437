"""The tables of requests that may come again: with an idempotency key, or without one."""

from datetime import datetime

from sqlalchemy import JSON, ForeignKey, Index, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from server.clock import now
from server.db.base import DELETABLE, Table


class KeptAnswer(Table):
    """The first successful answer to a request that named an idempotency key."""

    __tablename__ = "kept_answers"
    __table_args__ = (DELETABLE,)

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    request_digest: Mapped[str]
    """Recognises another request under the same key."""
    answer: Mapped[bytes] = mapped_column(LargeBinary)
    """The body of the answer, byte for byte."""
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)


class RepeatableRequest(Table):
    """A request of a client that repeats it without an idempotency key, and what was accepted for it."""

    __tablename__ = "repeatable_requests"
    __table_args__ = (Index("ix_repeatable_requests_user_id_digest", "user_id", "digest"), DELETABLE)

    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    digest: Mapped[str]
    """Equal for equal requests."""
    generation_ids: Mapped[list[str]] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)
    resumed_at: Mapped[datetime | None]
    """When a repetition last took it up."""
    answered_at: Mapped[datetime | None]
    """When its answer was sent, as far as the server knows."""
