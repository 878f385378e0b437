"""A transaction that somebody leaves open, as an operator does in psql, holds up as little as can be."""

from contextlib import contextmanager

import pytest
from sqlalchemy import text

from server.accounts.tables import User
from server.db.engine import Deadlines, open_engine
from server.db.unit_of_work import UnitOfWork
from server.entries.tables import CatalogEntry
from server.generations import settlement
from server.generations.states import Reason
from server.generations.tables import Generation
from server.scheduling.fair_queue import FairQueue
from tests.server.stored import provenance_of, stored_image

pytestmark = [
    pytest.mark.usefixtures("books_that_balance"),
    # SQLite has one writer: whoever holds it open holds up every other, until the deadline.
    pytest.mark.parametrize("database_url", ["postgresql"], indirect=True),
]


@pytest.fixture
def left_open(uow):
    """Lock rows of a table in a transaction that stays open while the body runs."""

    @contextmanager
    def lock(table, where="TRUE"):
        with uow.begin() as tx:
            tx.session.execute(text(f"SELECT 1 FROM {table} WHERE {where} FOR UPDATE"))  # noqa: S608  # our words
            yield

    return lock


@pytest.fixture
def hasty(database_url):
    """A unit of work that waits for no lock: a wait would be an error."""
    unit = UnitOfWork(open_engine(database_url, Deadlines(lock_timeout_s=0.2)))
    yield unit
    unit.close()


@pytest.fixture
def claimed(hasty):
    """Claim the next generation; return its id."""

    def claim(**options):
        with hasty.begin() as tx:
            found = FairQueue(tx).claim("worker-1", 60, (), **options)
        return found and found[0]

    return claim


class TestCatalogue:
    def test_everything_goes_on(self, left_open, hasty, make_account, submit_one, claimed, generation_of):
        """While an operator's transaction is open on the catalogue, generations are drawn and settled."""
        account = make_account()
        with left_open(CatalogEntry.__tablename__):
            first, second = submit_one(account), submit_one(account)
            settlement.complete(hasty, claimed(), stored_image(), provenance_of(first), {"step": 0.5})
            settlement.fail(hasty, claimed(), Reason.OUT_OF_MEMORY, "Full.")
        assert generation_of(first.id).status == "completed"
        assert generation_of(second.id).status == "failed"


class TestPendingRow:
    def test_others_are_claimed(self, left_open, make_account, submit_one, claimed):
        """A pending generation that is locked is passed over."""
        locked, other = submit_one(make_account()), submit_one(make_account())
        with left_open(Generation.__tablename__, f"id = '{locked.id}'"):
            assert claimed().generation_id == other.id
            assert claimed() is None
        assert claimed().generation_id == locked.id

    def test_others_time_out(self, left_open, hasty, make_account, submit_one, generation_of, balance_of):
        """Of generations that waited too long, the locked one is failed later and the others now."""
        account = make_account(credits=20)
        locked, other = submit_one(account), submit_one(account)
        ids = [locked.id, other.id]
        with left_open(Generation.__tablename__, f"id = '{locked.id}'"):
            assert settlement.fail_waiting(hasty, ids, Reason.GENERATION_TIMEOUT, "Late.") == 1
        assert generation_of(other.id).status == "failed"
        assert settlement.fail_waiting(hasty, ids, Reason.GENERATION_TIMEOUT, "Late.") == 1
        assert balance_of(account) == 20

    def test_its_user_is_locked(self, left_open, make_account, submit_one, claimed):
        """A generation whose user is locked is claimed all the same."""
        generation = submit_one(make_account())
        with left_open(User.__tablename__):
            assert claimed().generation_id == generation.id


class TestExpiredLease:
    def test_others_are_returned(self, left_open, hasty, make_account, submit_one, claim, generation_of):
        """Of two expired leases, the locked one is returned later and the other now."""
        locked, other = submit_one(make_account()), submit_one(make_account())
        held = {claim(lease_s=-1).generation_id for _ in range(2)}
        assert held == {locked.id, other.id}
        with left_open(Generation.__tablename__, f"id = '{locked.id}'"):
            assert settlement.return_lost(hasty) == 1
            assert generation_of(other.id).status == "pending"
        assert settlement.return_lost(hasty) == 1


class TestDeadlocks:
    def test_many_multi_row_changes_at_once(self, uow, make_account, submit_one, at_once):
        """Transactions that change many of the same generations at the same moment never deadlock."""
        account = make_account(credits=1000)
        ids = [submit_one(account).id for _ in range(40)]
        acts = [
            lambda: settlement.cancel(uow, ids),
            lambda: settlement.cancel(uow, list(reversed(ids))),
            lambda: settlement.return_lost(uow),
            lambda: settlement.fail_waiting(uow, ids[::-1], Reason.GENERATION_TIMEOUT, "Late."),
        ] * 2
        waiting = iter(acts)

        def act():
            return next(waiting)()

        outcomes = at_once(len(acts), act)
        assert all(isinstance(outcome, int) for outcome in outcomes)
        assert sum(outcomes) == len(ids)
