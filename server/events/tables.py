"""The table of events, and their kinds."""

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Index
from sqlalchemy.orm import Mapped, mapped_column

from server.clock import now
from server.db.base import APPEND_ONLY, Serial, Table


class Kind(StrEnum):
    """What happened to a generation. docs/architecture.md draws the transitions."""

    QUEUED = "queued"
    CLAIMED = "claimed"
    STEP = "step"
    RELEASED = "released"
    FAILED_OVER = "failed_over"
    LOST = "lost"
    COMPLETED = "completed"
    FAILED = "failed"


class Event(Table):
    """What happened to a generation, in order. Append-only."""

    __tablename__ = "events"
    __table_args__ = (Index("ix_events_generation", "generation_id", "id"), APPEND_ONLY)

    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    generation_id: Mapped[str]
    kind: Mapped[str]
    data: Mapped[dict[str, Any]]
    at: Mapped[datetime] = mapped_column(default=now)
