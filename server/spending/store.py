"""What hosted providers were paid, by day in UTC, and the day's limit."""

from datetime import UTC, date, datetime, time, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.clock import now
from server.db.tables import SpendingDay
from server.db.upsert import upsert
from server.errors import BudgetSpent


class Spending:
    """Adds up and limits what is spent, inside the caller's transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, microusd: int) -> None:
        """Count what a generation cost at providers, in millionths of a dollar."""
        if not microusd:
            return
        insert = upsert(self._session, SpendingDay.core())
        row = insert.values(day=_today(), microusd=microusd)
        total = SpendingDay.core().c.microusd + row.excluded.microusd
        self._session.execute(row.on_conflict_do_update(index_elements=["day"], set_={"microusd": total}))

    def today(self) -> int:
        """Return what was spent since midnight in UTC, in millionths of a dollar."""
        found = self._session.scalar(select(SpendingDay.microusd).where(SpendingDay.day == _today()))
        return found or 0

    def check(self, limit_microusd: int | None) -> None:
        """Let pass what the day's limit still allows.

        Raises:
            BudgetSpent: it is reached; it says how long the day still lasts.

        """
        if limit_microusd is not None and self.today() >= limit_microusd:
            midnight = datetime.combine(_today() + timedelta(days=1), time(), UTC)
            raise BudgetSpent(int((midnight - now()).total_seconds()) + 1)


def _today() -> date:
    return now().date()
