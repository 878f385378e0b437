from datetime import UTC, datetime, timedelta

import pytest

from server.spending import repository as store
from server.spending.repository import BudgetSpent, Spending

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def at(monkeypatch):
    """Set the clock."""
    return lambda moment: monkeypatch.setattr(store, "now", lambda: moment)


class TestSpending:
    def test_a_day_adds_up(self, uow, at):
        """The costs of a day in UTC add up, and the next day begins at zero."""
        at(NOON)
        for microusd in (25_000, 0, 35_000):
            with uow.begin() as tx:
                Spending(tx).add(microusd)
        with uow.read() as tx:
            assert Spending(tx).today() == 60_000
        at(NOON + timedelta(hours=12))
        with uow.read() as tx:
            assert Spending(tx).today() == 0

    def test_many_at_once_lose_nothing(self, uow, at_once):
        """Eight costs that are added at the same moment are all counted."""

        def spend():
            with uow.begin() as tx:
                Spending(tx).add(1000)

        at_once(8, spend)
        with uow.read() as tx:
            assert Spending(tx).today() == 8000

    def test_the_limit(self, uow, at):
        """Below the limit the check passes; at the limit it raises with the seconds until the day ends."""
        at(NOON)
        with uow.begin() as tx:
            Spending(tx).check(1)
            Spending(tx).add(50_000)
            Spending(tx).check(50_001)
            Spending(tx).check(None)
            with pytest.raises(BudgetSpent) as spent:
                Spending(tx).check(50_000)
        assert spent.value.retry_after_s == 12 * 3600 + 1
