"""What hosted providers were paid, by day in UTC, and the day's limit."""

from dataclasses import dataclass

from sqlalchemy import select

from server.clock import now, seconds_to_midnight
from server.db.base import upsert
from server.db.unit_of_work import Repository
from server.errors import DomainError
from server.spending.tables import SpendingDay


@dataclass
class BudgetSpent(DomainError):
    """The day's budget for hosted providers is spent; at midnight in UTC a new day begins."""

    retry_after_s: int

    def __str__(self) -> str:
        return "The service has reached its limit for today. Please try again tomorrow"


class Spending(Repository):
    """Adds up and limits what is spent. Amounts are millionths of a dollar."""

    def add(self, microusd: int) -> None:
        """Count what a generation cost at providers."""
        if not microusd:
            return
        insert = upsert(self._session, SpendingDay.core())
        row = insert.values(day=now().date(), microusd=microusd)
        total = SpendingDay.core().c.microusd + row.excluded.microusd
        self._session.execute(row.on_conflict_do_update(index_elements=["day"], set_={"microusd": total}))

    def today(self) -> int:
        """Return what was spent since midnight in UTC."""
        found = self._session.scalar(select(SpendingDay.microusd).where(SpendingDay.day == now().date()))
        return found or 0

    def check(self, limit_microusd: int | None) -> None:
        """Check that the day's limit is not reached. None is no limit.

        Raises:
            BudgetSpent: the limit is reached; it says how long the day still lasts.

        """
        if limit_microusd is not None and self.today() >= limit_microusd:
            raise BudgetSpent(int(seconds_to_midnight(now())) + 1)
