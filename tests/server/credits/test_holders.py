"""What the database keeps while credits depend on it, and what the last release may still do."""

import pytest
from sqlalchemy import insert, select, update
from sqlalchemy.exc import DatabaseError

from server.credits.repository import Ledger
from server.credits.tables import Account, Posting, Transfer
from server.generations import settlement

HELD = "a generation that holds credits"
ONLY_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
ONLY_POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.mark.usefixtures("books_that_balance")
class TestLastRelease:
    """The program of release 0.1.0, which goes on while a new one is started, posts by itself."""

    def test_its_transfers_are_posted_once(self, uow, user):
        """What it posts after its transfer is there by then, as it would have it."""
        transfer = {
            "user_id": user,
            "kind": "hold",
            "reference_type": "generation",
            "description": "As release 0.1.0 does",
        }
        columns = Transfer.core().c
        insert_transfer = insert(Transfer.core()).returning(columns.id)
        for held, balance, sides in ((8, 14, {"available": -8, "held": 8}), (0, 14, {"held": 0})):
            with uow.begin() as tx:
                tx.session.execute(
                    update(Account).values(available=Account.available - held, held=Account.held + held)
                )
                row = transfer | {"credits": held, "balance": balance, "reference_id": f"old-{held}"}
                transfer_id = tx.session.connection().execute(insert_transfer, row).scalar_one()
                postings = [
                    {"transfer_id": transfer_id, "user_id": user, "account": account, "amount": amount}
                    for account, amount in sides.items()
                ]
                tx.session.connection().execute(insert(Posting.core()), postings)
                found = select(Posting.account, Posting.amount).where(Posting.transfer_id == transfer_id)
                assert dict(tx.session.execute(found).all()) == sides
        with uow.begin() as tx:
            Ledger(tx).void("old-8")
            Ledger(tx).capture("old-0", 0)


@pytest.fixture
def waiting(make_account, submit_one):
    """A generation that waits, and holds its price."""
    return submit_one(make_account()).id


class TestGenerations:
    def test_one_that_holds_credits_is_not_deleted(self, operator, refused, waiting):
        """A generation stays as long as its hold is open."""
        with refused(HELD):
            operator.run("DELETE FROM generations WHERE id = :id", id=waiting)
        assert operator.read("SELECT id FROM generations") == [(waiting,)]

    def test_one_whose_hold_has_ended_is_deleted(self, uow, operator, waiting):
        """A generation whose hold was voided may go."""
        settlement.cancel(uow, [waiting])
        operator.run("DELETE FROM generations WHERE id = :id", id=waiting)
        assert operator.read("SELECT id FROM generations") == []

    @ONLY_SQLITE
    def test_one_that_holds_credits_is_not_replaced(self, operator, refused, waiting):
        """Another generation does not take the place of one that holds credits."""
        with refused(HELD):
            operator.run(f"REPLACE INTO generations SELECT * FROM generations WHERE id = '{waiting}'")  # noqa: S608

    def test_an_id_does_not_change(self, operator, refused, waiting):
        """A generation cannot leave its hold behind under another id."""
        with refused("refused", DatabaseError):
            operator.run("UPDATE generations SET id = 'another' WHERE id = :id", id=waiting)

    @ONLY_POSTGRESQL
    def test_all_at_once(self, operator, refused, waiting):
        """The generations cannot be emptied past their holds."""
        with refused("refused", DatabaseError):
            operator.run("TRUNCATE generations CASCADE")
        assert operator.read("SELECT id FROM generations") == [(waiting,)]

    @ONLY_POSTGRESQL
    @pytest.mark.parametrize(
        "end", ["status = 'failed', error_code = 'BY_HAND'", "status = 'completed', avatar_id = 'a'"]
    )
    def test_one_that_holds_credits_does_not_end(self, operator, refused, waiting, end):
        """At the commit, a generation that has ended holds nothing."""
        with refused(HELD):
            operator.run(f"UPDATE generations SET {end} WHERE id = :id", id=waiting)  # noqa: S608


class TestAccounts:
    def test_an_account_stays(self, operator, refused, user):
        """An account cannot be deleted: with it, its difference to the ledger would go."""
        with refused("refused", DatabaseError):
            operator.run("DELETE FROM accounts WHERE user_id = :user", user=user)
        assert operator.read("SELECT available, held FROM accounts") == [(22, 8)]

    @ONLY_POSTGRESQL
    def test_all_accounts_stay(self, operator, refused, user):
        """The accounts cannot be emptied."""
        with refused("refused", DatabaseError):
            operator.run("TRUNCATE accounts")
        assert operator.read("SELECT user_id FROM accounts") == [(user,)]
