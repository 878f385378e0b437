"""The table of generations, which is the queue as well."""

from datetime import datetime
from enum import StrEnum

from sqlalchemy import CheckConstraint, Double, ForeignKey, Index, LargeBinary, String, Text, false, text
from sqlalchemy.orm import Mapped, mapped_column

from catalog.orders import Order, Provenance
from catalog.traits import Traits
from server.clock import now
from server.db.base import DELETABLE, Record, Table


class Source(StrEnum):
    """Where a generation's prompt and traits come from: the sourceType of its avatar."""

    TEXT_TO_IMAGE = "text_to_image"
    FROM_PRESET = "from_preset"


class Generation(Table):
    """One request for one avatar. This row is the only truth about it."""

    __tablename__ = "generations"
    __table_args__ = (
        CheckConstraint("status IN ('pending', 'processing', 'completed', 'failed')", name="status"),
        CheckConstraint("(status = 'processing') = (lease_until IS NOT NULL)", name="lease"),
        CheckConstraint("(status = 'completed') = (avatar_id IS NOT NULL)", name="avatar"),
        CheckConstraint("(status = 'failed') = (error_code IS NOT NULL)", name="error"),
        Index("ix_generations_queue", "status", "user_id", "created_at"),
        Index(
            "ix_generations_lanes",
            "model_id",
            "failed_over",
            "tier",
            "turn",
            "created_at",
            sqlite_where=text("status = 'pending'"),
            postgresql_where=text("status = 'pending'"),
        ),
        Index(
            "ix_generations_batches",
            "batch_key",
            "failed_over",
            "turn",
            "created_at",
            sqlite_where=text("status = 'pending'"),
            postgresql_where=text("status = 'pending'"),
        ),
        Index("ix_generations_entry", "entry_key", "completed_at"),
        Index("ix_generations_owner", "user_id", "created_at"),
        DELETABLE,
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), index=True)
    avatar_id: Mapped[str | None]
    status: Mapped[str] = mapped_column(String(16))
    prompt: Mapped[str] = mapped_column(Text)
    """The user's own words; what the model reads is in the order."""
    entry_key: Mapped[str] = mapped_column(String(128))
    entry_name: Mapped[str] = mapped_column(String(200))
    model_id: Mapped[str] = mapped_column(String(200))
    """The order's model, in a column of its own: the queue prefers what is resident."""
    credits: Mapped[int]
    order: Mapped[Order] = mapped_column("image_order", Record(Order))
    """All that determines the image, as it was when the price was held."""
    avatar_name: Mapped[str] = mapped_column(String(100))
    source_type: Mapped[str] = mapped_column(String(32))
    traits: Mapped[Traits] = mapped_column(Record(Traits))
    provenance: Mapped[Provenance | None] = mapped_column(Record(Provenance))
    """What the image was really made with; None until completed."""
    error_code: Mapped[str | None]
    error_message: Mapped[str | None] = mapped_column(Text)
    attempt: Mapped[int] = mapped_column(default=0)
    """The fencing number: every claim raises it, so that a late worker is recognised."""
    losses: Mapped[int] = mapped_column(default=0)
    """How many attempts ended with a lost worker."""
    failed_over: Mapped[bool] = mapped_column(default=False)
    """Whether a local worker failed to draw it and left it to hosted providers."""
    tier: Mapped[str] = mapped_column(String(16), server_default="free")
    """Its user's tier when it was submitted: it waits with this tier's weight. The default is for rows that
    ended before revision 0017, or that a program of an earlier one adds."""
    turn: Mapped[float] = mapped_column(Double, server_default="0")
    """Its place in the fair order; see `turns`. The default, as above, is before all others."""
    batch_key: Mapped[str] = mapped_column(String(32), server_default="")
    """The order's, in a column of its own: those of one key are drawn together. The default, for rows that a
    program of an earlier revision adds, is drawn alone."""
    companion: Mapped[bool] = mapped_column(server_default=false())
    """Whether it was claimed together with another, ahead of its turn."""
    worker: Mapped[str | None]
    lease_until: Mapped[datetime | None] = mapped_column(index=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now, onupdate=now)
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]


class Preview(Table):
    """A small picture of a generation that is being drawn. It is made while somebody looks."""

    __tablename__ = "previews"
    __table_args__ = (DELETABLE,)

    generation_id: Mapped[str] = mapped_column(primary_key=True)
    wanted_until: Mapped[datetime] = mapped_column(index=True)
    """A worker that finds it in the future makes the next picture."""
    step: Mapped[int] = mapped_column(default=0)
    image: Mapped[bytes | None] = mapped_column(LargeBinary)
    """A JPEG; None before the first."""
