"""The tables. Constraints carry the rules that no bug may break: no overdraft, one end a hold."""

from datetime import date, datetime
from typing import Any, cast

import sqlalchemy as sa
from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from server.clock import now
from server.db.types import UtcDateTime

# SQLite numbers rows by itself only where the key is INTEGER, which PostgreSQL's would outgrow.
Serial = BigInteger().with_variant(Integer, "sqlite")


class Table(DeclarativeBase):
    """The base of all tables."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )

    @classmethod
    def core(cls) -> sa.Table:
        """Return the table itself, for statements that are built once and run without the ORM's bookkeeping.

        Submissions take this way: it halves the processor time that one costs.
        """
        return cast("sa.Table", cls.__table__)

    type_annotation_map = {datetime: UtcDateTime, str: String(64), dict[str, Any]: JSON}  # noqa: RUF012  # read by SQLAlchemy as it is


class User(Table):
    """Who may ask. The id may come from the existing platform, so its form is not ours."""

    __tablename__ = "users"
    __table_args__ = (CheckConstraint("tier IN ('free', 'basic', 'pro', 'enterprise')", name="tier"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    email: Mapped[str | None] = mapped_column(String(320))
    tier: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[datetime] = mapped_column(default=now)
    last_claimed_at: Mapped[datetime | None]
    """When a worker last took up work of this user's: the queue's round robin goes by it."""


class ApiKey(Table):
    """A bearer token that this server issued; only its digest is kept."""

    __tablename__ = "api_keys"

    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    label: Mapped[str]
    prefix: Mapped[str] = mapped_column(String(16), index=True)
    digest: Mapped[str] = mapped_column(unique=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    revoked_at: Mapped[datetime | None]


class Account(Table):
    """A user's credits: what can be spent and what is reserved. Both follow from the ledger."""

    __tablename__ = "accounts"
    __table_args__ = (
        CheckConstraint("available >= 0", name="available"),
        CheckConstraint("held >= 0", name="held"),
    )

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), primary_key=True)
    available: Mapped[int] = mapped_column(BigInteger)
    held: Mapped[int] = mapped_column(BigInteger)


class Transfer(Table):
    """One movement of credits. Append-only: a trigger refuses every change."""

    __tablename__ = "ledger_transfers"
    __table_args__ = (
        CheckConstraint("kind IN ('grant', 'hold', 'capture', 'void')", name="kind"),
        CheckConstraint("(kind IN ('capture', 'void')) = (settles_id IS NOT NULL)", name="settles"),
        Index(
            "uq_ledger_transfers_one_hold",
            "reference_id",
            unique=True,
            sqlite_where=text("kind = 'hold'"),
            postgresql_where=text("kind = 'hold'"),
        ),
        Index("ix_ledger_transfers_history", "user_id", "id"),
    )

    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    kind: Mapped[str] = mapped_column(String(16))
    credits: Mapped[int] = mapped_column(BigInteger)
    """What was granted, held, taken for good or given back."""
    balance: Mapped[int] = mapped_column(BigInteger)
    """The user's available credits after it."""
    settles_id: Mapped[int | None] = mapped_column(ForeignKey("ledger_transfers.id"), unique=True)
    """The hold that this ends. Unique, so a hold ends once."""
    reference_type: Mapped[str]
    reference_id: Mapped[str]
    description: Mapped[str] = mapped_column(String(300))
    created_at: Mapped[datetime] = mapped_column(default=now)


class Posting(Table):
    """One side of a transfer. All of them sum to zero, and so do each transfer's. Append-only."""

    __tablename__ = "ledger_postings"
    __table_args__ = (
        CheckConstraint("account IN ('available', 'held', 'revenue', 'issuance')", name="account"),
    )

    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    transfer_id: Mapped[int] = mapped_column(ForeignKey("ledger_transfers.id"), index=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    account: Mapped[str] = mapped_column(String(16))
    amount: Mapped[int] = mapped_column(BigInteger)


class CatalogEntry(Table):
    """One entry of the catalogue: prices and parameters are read from here, never from code."""

    __tablename__ = "ai_models"
    __table_args__ = (
        CheckConstraint("tier IN ('free', 'basic', 'pro', 'enterprise')", name="tier"),
        CheckConstraint("credit_cost >= 0", name="credit_cost"),
    )

    app_id: Mapped[str] = mapped_column(primary_key=True)
    model_key: Mapped[str] = mapped_column(String(128), primary_key=True)
    name: Mapped[str] = mapped_column(String(200))
    tier: Mapped[str] = mapped_column(String(16))
    credit_cost: Mapped[int]
    quota_cost: Mapped[int]
    provider: Mapped[str]
    enabled: Mapped[bool]
    beta: Mapped[bool]
    capabilities: Mapped[dict[str, Any]]
    total_usage: Mapped[int] = mapped_column(BigInteger, default=0)
    seeded: Mapped[dict[str, Any]]
    """What seeding last wrote, so that it can tell an operator's change from its own."""
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now, onupdate=now)


class Project(Table):
    """A user's folder of avatars."""

    __tablename__ = "projects"
    __table_args__ = (Index("ix_projects_owner", "user_id", "created_at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    name: Mapped[str] = mapped_column(String(100))
    description: Mapped[str | None] = mapped_column(String(500))
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now, onupdate=now)


class Generation(Table):
    """One request for one avatar. This row is the only truth about it."""

    __tablename__ = "generations"
    __table_args__ = (
        CheckConstraint("status IN ('pending', 'processing', 'completed', 'failed')", name="status"),
        CheckConstraint("(status = 'processing') = (lease_until IS NOT NULL)", name="lease"),
        CheckConstraint("(status = 'completed') = (avatar_id IS NOT NULL)", name="avatar"),
        CheckConstraint("(status = 'failed') = (error_code IS NOT NULL)", name="error"),
        Index("ix_generations_queue", "status", "user_id", "created_at"),
        Index("ix_generations_owner", "user_id", "created_at"),
    )

    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"), index=True)
    avatar_id: Mapped[str | None]
    status: Mapped[str] = mapped_column(String(16))
    prompt: Mapped[str] = mapped_column(Text)
    """The user's own words; what the model reads stands in the recipe."""
    entry_key: Mapped[str] = mapped_column(String(128))
    entry_name: Mapped[str] = mapped_column(String(200))
    model_id: Mapped[str] = mapped_column(String(200))
    credits: Mapped[int]
    recipe: Mapped[dict[str, Any]]
    """All that determines the image, as it was when the price was held."""
    draft: Mapped[dict[str, Any]]
    """The avatar's name, persona and looks."""
    making: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """What the image was really made with, as inference's Making has it; None until completed."""
    error_code: Mapped[str | None]
    error_message: Mapped[str | None] = mapped_column(Text)
    attempt: Mapped[int] = mapped_column(default=0)
    """The fencing number: raised by every claim, so that a late worker is told apart."""
    losses: Mapped[int] = mapped_column(default=0)
    """How many attempts ended with a lost worker."""
    passed_on: Mapped[bool] = mapped_column(default=False)
    """Whether a local worker failed to draw it and left it to hosted providers."""
    worker: Mapped[str | None]
    lease_until: Mapped[datetime | None] = mapped_column(index=True)
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now, onupdate=now)
    started_at: Mapped[datetime | None]
    completed_at: Mapped[datetime | None]


class Event(Table):
    """What happened to a generation, in order. Append-only."""

    __tablename__ = "events"
    __table_args__ = (Index("ix_events_generation", "generation_id", "id"),)

    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    generation_id: Mapped[str]
    kind: Mapped[str]
    data: Mapped[dict[str, Any]]
    at: Mapped[datetime] = mapped_column(default=now)


class Avatar(Table):
    """A finished avatar, the one owner of its image."""

    __tablename__ = "avatars"
    __table_args__ = (Index("ix_avatars_project", "project_id", "created_at"),)

    id: Mapped[str] = mapped_column(primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    project_id: Mapped[str] = mapped_column(ForeignKey("projects.id"))
    generation_id: Mapped[str | None] = mapped_column(unique=True)
    name: Mapped[str] = mapped_column(String(100))
    image_key: Mapped[str] = mapped_column(unique=True)
    image_sha256: Mapped[str]
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
    source_type: Mapped[str] = mapped_column(String(32))
    generation_prompt: Mapped[str | None] = mapped_column(Text)
    seed_used: Mapped[int | None] = mapped_column(BigInteger)
    usage_count: Mapped[int] = mapped_column(default=0)
    last_used_at: Mapped[datetime | None]
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now, onupdate=now)


class SpendingDay(Table):
    """What hosted providers were paid on one day in UTC."""

    __tablename__ = "spending_days"
    __table_args__ = (CheckConstraint("microusd >= 0", name="microusd"),)

    day: Mapped[date] = mapped_column(primary_key=True)
    microusd: Mapped[int] = mapped_column(BigInteger)
    """Millionths of a dollar."""


class Tally(Table):
    """A number that only grows, in the transaction that makes it. See server/metrics/tallies.py."""

    __tablename__ = "tallies"

    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    entry: Mapped[str] = mapped_column(String(128), primary_key=True)
    part: Mapped[str] = mapped_column(primary_key=True)
    """What of the entry: an outcome, a stage; empty if there is but one."""
    value: Mapped[int] = mapped_column(BigInteger)


class Worker(Table):
    """A worker that is there, as it tells every few seconds."""

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(primary_key=True)
    backend: Mapped[str] = mapped_column(String(16))
    accepts: Mapped[bool]
    """Whether it takes up generations; not while its breaker is open."""
    seconds_each: Mapped[float | None]
    """What it takes for a generation, averaged over its last ones; None before the first."""
    trouble: Mapped[str | None] = mapped_column(Text)
    """Why its last attempt failed, where that is an operator's to mend."""
    seen_at: Mapped[datetime]


class Turn(Table):
    """Whose turn a chore is that one process at a time may do."""

    __tablename__ = "turns"

    name: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str]
    until: Mapped[datetime]
