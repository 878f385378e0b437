"""The rules that the database holds by itself, against statements that were written by hand."""

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy.exc import DatabaseError, DBAPIError

from server.credits.repository import Ledger

SETTLES = "a capture or void settles a hold of its own user and reference, of no less credits"
FOLLOWS = "a posting follows from its transfer"
APPEND_ONLY = "append-only"


ONLY_SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
ONLY_POSTGRESQL = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


AS_POSTED = """
    UPDATE accounts SET (available, held) = (
        SELECT
            coalesce(sum(amount) FILTER (WHERE account = 'available'), 0),
            coalesce(sum(amount) FILTER (WHERE account = 'held'), 0)
        FROM ledger_postings AS posting WHERE posting.user_id = accounts.user_id
    )
"""


@pytest.fixture
def hold(user, operator):
    """What a transfer that settles the user's hold says."""
    ((hold_id,),) = operator.read("SELECT id FROM ledger_transfers WHERE kind = 'hold'")
    return {
        "user_id": user,
        "settles_id": hold_id,
        "reference_type": "generation",
        "reference_id": "generation-1",
    }


@pytest.mark.usefixtures("books_that_balance")
class TestPostings:
    def test_a_transfer_by_hand_has_both_sides(self, operator, user):
        """Who inserts a transfer alone has inserted its postings, which balance."""
        operator.insert_transfer(user_id=user, credits=5, balance=27)
        operator.run("UPDATE accounts SET available = available + 5 WHERE user_id = :user", user=user)
        posted = operator.read("SELECT account, amount FROM ledger_postings ORDER BY id DESC LIMIT 2")
        assert set(posted) == {("available", 5), ("issuance", -5)}

    @pytest.mark.parametrize(
        "posting",
        [
            {"account": "available", "amount": 5},
            {"account": "held", "amount": 30},
            {"account": "issuance", "amount": 30},
            {"account": "available", "amount": 30, "transfer_id": 999},
        ],
    )
    def test_one_side_alone_is_refused(self, operator, refused, user, posting):
        """A posting that its transfer does not ask for is refused, whatever its account and amount."""
        (transfer_id,) = operator.read("SELECT min(id) FROM ledger_transfers")[0]
        with refused(FOLLOWS):
            operator.insert_posting(**{"transfer_id": transfer_id, "user_id": user} | posting)

    def test_another_users_posting_is_refused(self, operator, refused, user, make_account):
        """What a user was granted cannot be posted to another user."""
        (transfer_id,) = operator.read("SELECT min(id) FROM ledger_transfers")[0]
        other = make_account(credits=0).user_id
        with refused(FOLLOWS):
            operator.insert_posting(transfer_id=transfer_id, user_id=other, account="available", amount=30)

    def test_a_posting_again_is_not_doubled(self, operator, user):
        """What a transfer has posted is posted once, though a program of the last release inserts it too."""
        before = operator.ledger()
        (transfer_id,) = operator.read("SELECT min(id) FROM ledger_transfers")[0]
        operator.insert_posting(transfer_id=transfer_id, user_id=user, account="available", amount=30)
        assert operator.ledger() == before

    @pytest.mark.parametrize(
        ("database_url", "credits_"),
        [("sqlite", -1), ("sqlite", 2.5), ("sqlite", "many"), ("postgresql", -1), ("postgresql", "many")],
        indirect=["database_url"],
    )
    def test_credits_are_counted(self, operator, refused, user, credits_):
        """Less than nothing, words and, where the database does not round it, a half move no credits."""
        with refused("credits", DBAPIError):
            operator.insert_transfer(user_id=user, credits=credits_)

    @hypothesis_settings(
        max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(
        st.fixed_dictionaries(
            {"kind": st.sampled_from(["grant", "hold", "capture", "void"]), "credits": st.integers(-1, 9)},
            optional={
                "settles_id": st.integers(1, 9),
                "reference_id": st.sampled_from(["generation-1", "g-2"]),
            },
        )
    )
    def test_whatever_is_inserted_balances(self, operator, user, columns):
        """Each transfer that the database accepts has postings, and they sum to zero."""
        try:
            operator.insert_transfer(user_id=user, **{"reference_type": "generation"} | columns)
        except DBAPIError:
            pass
        else:
            operator.run(AS_POSTED)
        unbalanced = operator.read(
            "SELECT transfer.id FROM ledger_transfers AS transfer "
            "LEFT JOIN ledger_postings AS posting ON posting.transfer_id = transfer.id "
            "GROUP BY transfer.id HAVING coalesce(sum(amount), 1) <> 0"
        )
        assert unbalanced == []


@pytest.mark.usefixtures("books_that_balance")
class TestSettlement:
    @pytest.mark.parametrize(
        "wrong",
        [
            {"kind": "capture", "credits": 9},
            {"kind": "capture", "credits": -1},
            {"kind": "void", "credits": 7},
            {"kind": "void", "credits": 9},
            {"kind": "void", "credits": 8, "reference_id": "generation-2"},
            {"kind": "void", "credits": 8, "reference_type": "avatar"},
            {"kind": "capture", "credits": 8, "reference_id": "generation-2"},
        ],
    )
    def test_a_settlement_that_does_not_fit_its_hold(self, operator, refused, hold, wrong):
        """More than was held, a void of a part, and what names another purpose are refused."""
        words = "credits" if wrong["credits"] < 0 else SETTLES
        with refused(words):
            operator.insert_transfer(**hold | wrong)

    @pytest.mark.parametrize("kind", ["capture", "void"])
    def test_anothers_hold(self, operator, refused, hold, make_account, kind):
        """Nobody settles the hold of another user."""
        other = make_account().user_id
        with refused(SETTLES):
            operator.insert_transfer(**hold | {"user_id": other, "kind": kind, "credits": 8})

    @pytest.mark.parametrize("kind", ["capture", "void"])
    def test_a_grant_is_no_hold(self, operator, refused, user, kind):
        """A grant cannot be given back or taken as if it were held."""
        columns = "id, credits, reference_type, reference_id"
        granted = operator.read(f"SELECT {columns} FROM ledger_transfers WHERE kind = 'grant'")[0]  # noqa: S608
        named = dict(zip(("settles_id", *columns.split(", ")[1:]), granted, strict=True))
        with refused(SETTLES):
            operator.insert_transfer(user_id=user, kind=kind, **named)

    def test_no_hold_at_all(self, operator, refused, hold):
        """What names no transfer settles nothing."""
        with refused(None):
            operator.insert_transfer(**hold | {"settles_id": 999, "kind": "void", "credits": 8})

    @pytest.mark.parametrize("kind", ["capture", "void"])
    def test_a_settled_hold(self, uow, operator, refused, hold, kind):
        """A hold that has ended is not settled again, and its settlement is no hold."""
        with uow.begin() as tx:
            Ledger(tx).void("generation-1")
        with refused(None):
            operator.insert_transfer(**hold | {"kind": kind, "credits": 8})
        ((void_id,),) = operator.read("SELECT id FROM ledger_transfers WHERE kind = 'void'")
        with refused(SETTLES):
            operator.insert_transfer(**hold | {"settles_id": void_id, "kind": kind, "credits": 8})


@pytest.mark.usefixtures("books_that_balance")
class TestAppendOnly:
    @ONLY_POSTGRESQL
    @pytest.mark.parametrize("tables", ["ledger_postings", "ledger_transfers CASCADE", "users CASCADE"])
    def test_truncate(self, operator, refused, user, tables):
        """The ledger cannot be emptied, nor through a table that it refers to."""
        with refused("TRUNCATE of .* refused", DatabaseError):
            operator.run(f"TRUNCATE {tables}")

    @ONLY_SQLITE
    @pytest.mark.parametrize("verb", ["REPLACE", "INSERT OR REPLACE"])
    @pytest.mark.parametrize("key", ["id", "settles_id", "hold", "grant_reference"])
    def test_replace_of_a_transfer(self, uow, operator, refused, user, hold, verb, key):
        """A transfer that has a key of another one is refused, and does not take its place."""
        with uow.begin() as tx:
            Ledger(tx).grant(user, 1, "A gift", user, reference="gift-1")
        rows = {
            "id": {"user_id": user, "id": 1, "credits": 1000},
            "settles_id": hold | {"kind": "capture", "credits": 0},
            "hold": hold | {"kind": "hold", "credits": 1, "settles_id": None},
            "grant_reference": {"user_id": user, "credits": 1000, "grant_reference": "gift-1"},
        }
        if key == "settles_id":
            with uow.begin() as tx:
                Ledger(tx).void("generation-1")
        with refused(APPEND_ONLY):
            operator.insert_transfer(verb, **rows[key])

    @ONLY_SQLITE
    def test_replace_of_a_posting(self, operator, refused, user):
        """A posting with the id of another one does not take its place, though its transfer asks for it."""
        row = "SELECT 1, transfer_id, user_id, account, amount FROM ledger_postings WHERE id = 2"
        with refused(APPEND_ONLY):
            operator.run(f"REPLACE INTO ledger_postings (id, transfer_id, user_id, account, amount) {row}")

    @ONLY_SQLITE
    @pytest.mark.parametrize("id_", [0, -1])
    def test_an_id_that_no_transfer_has(self, operator, refused, user, id_):
        """The numbers of transfers begin with 1: a smaller one could be confused with none."""
        with refused(APPEND_ONLY):
            operator.insert_transfer(user_id=user, id=id_)

    def test_an_upsert(self, operator, refused, user):
        """An INSERT that would update the row with its key changes nothing."""
        columns = "id, user_id, kind, credits, balance, reference_type, reference_id, description, created_at"
        row = f"SELECT {columns} FROM ledger_transfers WHERE id = 1"  # noqa: S608
        with refused(APPEND_ONLY, DatabaseError):
            operator.run(
                f"INSERT INTO ledger_transfers ({columns}) {row} "
                "ON CONFLICT (id) DO UPDATE SET credits = 1000"
            )
