"""The tables of the workers that are there, and of periodic tasks that one process at a time may do."""

from datetime import datetime

from sqlalchemy import JSON, BigInteger, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from server.db.base import DELETABLE, Table


class RegisteredWorker(Table):
    """A worker that is there, by its own heartbeat every few seconds."""

    __tablename__ = "workers"
    __table_args__ = (DELETABLE,)

    name: Mapped[str] = mapped_column(primary_key=True)
    backend: Mapped[str] = mapped_column(String(16))
    accepts: Mapped[bool]
    """Whether it takes generations; not while its circuit breaker is open."""
    mean_duration_s: Mapped[float | None]
    """What a generation takes it, averaged over its last ones; None before the first."""
    last_error: Mapped[str | None] = mapped_column(Text)
    """Why its last attempt failed, if an operator has to act on it."""
    device: Mapped[str | None] = mapped_column(Text)
    """What it draws on, in words. This and the next three are None for workers from before revision 0020."""
    memory_used_bytes: Mapped[int | None] = mapped_column(BigInteger)
    memory_total_bytes: Mapped[int | None] = mapped_column(BigInteger)
    resident: Mapped[list[str] | None] = mapped_column(JSON(none_as_null=True))
    """The ids of the models that it has in memory."""
    seen_at: Mapped[datetime]


class LeaderLock(Table):
    """Leader lock of a periodic task: who does it, and until when nobody else may."""

    __tablename__ = "leader_locks"

    name: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str]
    until: Mapped[datetime]
