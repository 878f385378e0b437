"""The table of what hosted providers cost."""

from datetime import date

from sqlalchemy import BigInteger, CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

from server.db.base import Table


class SpendingDay(Table):
    """What hosted providers were paid on one day in UTC."""

    __tablename__ = "spending_days"
    __table_args__ = (CheckConstraint("microusd >= 0", name="microusd"),)

    day: Mapped[date] = mapped_column(primary_key=True)
    microusd: Mapped[int] = mapped_column(BigInteger)
    """Millionths of a dollar."""
