"""The table of the catalogue's entries, which operators read and change with SQL."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, String
from sqlalchemy.orm import Mapped, mapped_column

from server.clock import now
from server.db.base import Table


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
    """What seeding last wrote, by which it recognises an operator's changes."""
    created_at: Mapped[datetime] = mapped_column(default=now)
    updated_at: Mapped[datetime] = mapped_column(default=now, onupdate=now)
