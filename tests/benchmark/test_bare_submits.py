"""The bare handler commits what a submission commits."""

from collections import Counter

import pytest
from sqlalchemy import func, select

from benchmark.bare_submits import Rows
from server.credits.repository import Ledger
from server.db.base import load_tables


@pytest.fixture
def database_url(make_database):
    """The bare handler writes to SQLite alone."""
    return make_database("sqlite")


def rows_of_all_tables(uow) -> Counter[str]:
    tables = load_tables().tables
    with uow.read() as tx:
        return Counter(
            {
                name: tx.session.scalar(select(func.count()).select_from(table))
                for name, table in tables.items()
            }
        )


class TestRows:
    def test_as_many_as_of_a_submission(self, uow, make_account, submit_one):
        """It adds as many rows to each table as a submission through the program, and no credit is lost."""
        account = make_account()
        before = rows_of_all_tables(uow)
        first = submit_one(account)
        after_ours = rows_of_all_tables(uow)
        copied = Rows(uow.engine.url.database, first.id).commit(account.project_id)
        after_bare = rows_of_all_tables(uow)
        assert after_bare - after_ours == after_ours - before
        with uow.read() as tx:
            assert not Ledger(tx).drifts()
            assert copied != first.id
