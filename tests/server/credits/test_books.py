"""The books of the ledger: its transfers and postings, their sums, and the accounts that drift."""

import pytest
from sqlalchemy import insert, select, update

from server.credits.errors import CaptureBeyondHold, HoldMissing
from server.credits.repository import Drift, Ledger
from server.credits.tables import Account, Posting, Transfer
from server.tallies.repository import MOVED, Tallies
from tests.server.stored import post_astray


def transfers(uow, user_id):
    """Return a user's transfers in their order, without their ids and times."""
    columns = (
        Transfer.kind,
        Transfer.credits,
        Transfer.balance,
        Transfer.reference_type,
        Transfer.reference_id,
        Transfer.description,
    )
    with uow.read() as tx:
        rows = tx.session.execute(select(*columns).where(Transfer.user_id == user_id).order_by(Transfer.id))
        return [tuple(row) for row in rows]


def postings(uow, user_id):
    """Return what a user's transfers posted: kind, account and amount, in the order of the transfers."""
    columns = (Transfer.kind, Posting.account, Posting.amount)
    with uow.read() as tx:
        rows = tx.session.execute(
            select(*columns)
            .join(Transfer, Transfer.id == Posting.transfer_id)
            .where(Posting.user_id == user_id)
            .order_by(Transfer.id, Posting.account)
        )
        return [tuple(row) for row in rows]


def set_account(uow, user_id, **values):
    """Change an account as no program does."""
    with uow.begin() as tx:
        tx.session.execute(update(Account).where(Account.user_id == user_id).values(**values))


def books(uow):
    """Return the sum of all postings, how many accounts drift, and the credits held."""
    with uow.read() as tx:
        ledger = Ledger(tx)
        drifting = {drift.user_id for drift in ledger.drifts()}
        return ledger.sum_of_postings(), len(drifting), ledger.held()


def drifts(uow):
    with uow.read() as tx:
        return Ledger(tx).drifts()


class TestTransfers:
    @pytest.fixture
    def user(self, uow, make_account):
        """A user with 30 credits granted, a hold of 12 captured for 8, and a hold of 8 voided."""
        user = make_account(credits=0).user_id
        with uow.begin() as tx:
            assert Ledger(tx).grant(user, 30, "Welcome", "order-1") == 30
            assert Ledger(tx).hold(user, 12, "generation-1", "First image") == 18
            assert Ledger(tx).hold(user, 8, "generation-2", "Second image") == 10
        with uow.begin() as tx:
            Ledger(tx).capture("generation-1", 8)
            Ledger(tx).void("generation-2")
        return user

    def test_each_says_what_moved_and_what_for(self, uow, user):
        """A transfer has its kind, its credits, the balance after it, what it is for and its description."""
        first, second = ("generation", "generation-1"), ("generation", "generation-2")
        assert transfers(uow, user) == [
            ("grant", 30, 30, "grant", "order-1", "Welcome"),
            ("hold", 12, 18, *first, "First image"),
            ("hold", 8, 10, *second, "Second image"),
            ("capture", 8, 14, *first, "First image"),
            ("void", 8, 22, *second, "Second image"),
        ]

    def test_each_end_names_its_hold(self, uow, user):
        """A capture and a void settle the hold of their generation, and nothing else settles any."""
        with uow.read() as tx:
            rows = list(tx.session.scalars(select(Transfer).where(Transfer.user_id == user)))
        hold_of = {row.reference_id: row.id for row in rows if row.kind == "hold"}
        settled = {row.kind: (row.reference_id, row.settles_id) for row in rows if row.settles_id is not None}
        assert settled == {
            "capture": ("generation-1", hold_of["generation-1"]),
            "void": ("generation-2", hold_of["generation-2"]),
        }

    def test_each_is_posted_on_two_sides_or_three(self, uow, user):
        """What leaves one account enters others: issuance, available, held or revenue."""
        assert postings(uow, user) == [
            ("grant", "available", 30),
            ("grant", "issuance", -30),
            ("hold", "available", -12),
            ("hold", "held", 12),
            ("hold", "available", -8),
            ("hold", "held", 8),
            ("capture", "available", 4),
            ("capture", "held", -12),
            ("capture", "revenue", 8),
            ("void", "available", 8),
            ("void", "held", -8),
        ]

    def test_nothing_is_posted_as_nothing(self, uow, make_account):
        """A free generation posts a zero to what is held, so that each of its transfers has a posting."""
        user = make_account(credits=0).user_id
        with uow.begin() as tx:
            Ledger(tx).hold(user, 0, "generation-1", "test")
            Ledger(tx).capture("generation-1", 0)
        assert postings(uow, user) == [("hold", "held", 0), ("capture", "held", 0)]


class TestRefusals:
    def test_no_account_no_credits(self, uow):
        """Who has no account can spend nothing and be granted nothing."""
        with uow.read() as tx:
            assert Ledger(tx).available("nobody") == 0
        with pytest.raises(LookupError) as refused, uow.begin() as tx:
            Ledger(tx).grant("nobody", 5, "test", "order-1")
        assert str(refused.value) == "user nobody has no account"

    @pytest.mark.parametrize("captured", [-1, 9])
    def test_a_capture_out_of_bounds(self, uow, make_account, captured):
        """Less than nothing and more than was held cannot be captured, and the error says both numbers."""
        user = make_account(credits=20).user_id
        with uow.begin() as tx:
            Ledger(tx).hold(user, 8, "generation-1", "test")
        with pytest.raises(CaptureBeyondHold) as refused, uow.begin() as tx:
            Ledger(tx).capture("generation-1", captured)
        assert (refused.value.held, refused.value.captured) == (8, captured)
        assert [row[0] for row in transfers(uow, user)] == ["grant", "hold"]

    def test_a_capture_of_nothing(self, uow, make_account):
        """Nothing may be captured of a hold, and all of it comes back."""
        user = make_account(credits=20).user_id
        with uow.begin() as tx:
            Ledger(tx).hold(user, 8, "generation-1", "test")
            Ledger(tx).capture("generation-1", 0)
            assert Ledger(tx).available(user) == 20

    def test_another_transfer_of_that_name_is_no_hold(self, uow, make_account):
        """A grant that happens to refer to a generation's id is not taken for a hold, though others exist."""
        user = make_account(credits=20).user_id
        with uow.begin() as tx:
            Ledger(tx).hold(user, 8, "generation-2", "test")
            Ledger(tx).grant(user, 5, "test", "generation-1")
        with pytest.raises(HoldMissing) as refused, uow.begin() as tx:
            Ledger(tx).void("generation-1")
        assert refused.value.generation_id == "generation-1"

    def test_a_second_end_with_nothing_held(self, uow, make_account):
        """Where no other hold is left to give from, a second end of one hold names its generation."""
        user = make_account(credits=20).user_id
        with uow.begin() as tx:
            Ledger(tx).hold(user, 8, "generation-1", "test")
            Ledger(tx).void("generation-1")
        with pytest.raises(HoldMissing) as refused, uow.begin() as tx:
            Ledger(tx).void("generation-1")
        assert refused.value.generation_id == "generation-1"


class TestMoved:
    @staticmethod
    def moved(uow):
        """Return the credits that were moved, by kind."""
        with uow.read() as tx:
            return {part: total for (kind, _, part), total in Tallies(tx).all().items() if kind == MOVED}

    def test_nothing_was(self, uow):
        """A ledger without transfers moved no kind of credits."""
        assert self.moved(uow) == {}

    def test_by_kind(self, uow, make_account):
        """What was moved adds up by kind over all users, a capture at what it took, a free one at nothing."""
        first, second = make_account(credits=20).user_id, make_account(credits=5).user_id
        with uow.begin() as tx:
            Ledger(tx).hold(first, 12, "generation-1", "test")
            Ledger(tx).hold(second, 5, "generation-2", "test")
            Ledger(tx).hold(second, 0, "generation-3", "test")
            Ledger(tx).capture("generation-1", 8)
            Ledger(tx).capture("generation-3", 0)
        assert self.moved(uow) == {"grant": 25, "hold": 17, "capture": 8}

    def test_by_hand(self, uow, make_account):
        """What another program inserts is counted by the database."""
        user = make_account(credits=5).user_id
        given = {"kind": "grant", "credits": 3, "balance": 8, "description": "By hand"}
        row = {"user_id": user, "reference_type": "grant", "reference_id": user} | given
        with uow.begin() as tx:
            tx.session.execute(insert(Transfer).values(row))
        assert self.moved(uow) == {"grant": 8}


class TestBooks:
    def test_without_accounts(self, uow):
        """Books without a page are in order."""
        assert books(uow) == (0, 0, 0)
        assert drifts(uow) == []
        with uow.read() as tx:
            assert Ledger(tx).sum_of_postings() == 0

    def test_in_order(self, uow, make_account):
        """After every kind of transfer nothing drifts, and what is held is the sum over all users."""
        first, second = make_account(credits=40).user_id, make_account(credits=20).user_id
        make_account(credits=0)
        with uow.begin() as tx:
            for user, number in ((first, 1), (first, 2), (first, 3), (second, 4)):
                Ledger(tx).hold(user, 8, f"generation-{number}", "test")
            Ledger(tx).capture("generation-1", 5)
            Ledger(tx).void("generation-2")
        assert books(uow) == (0, 0, 16)
        assert drifts(uow) == []

    def test_an_account_drifts(self, uow, make_account):
        """Each account that differs from its postings counts once, and each difference is listed."""
        both, held, empty = (make_account(credits=granted).user_id for granted in (10, 10, 0))
        make_account(credits=10)
        with uow.begin() as tx:
            Ledger(tx).hold(held, 4, "generation-1", "test")
        set_account(uow, both, available=9, held=2)
        set_account(uow, held, held=5)
        set_account(uow, empty, available=1)
        assert books(uow) == (0, 3, 7)
        listed = sorted((drift.user_id, drift.account, drift.stored, drift.posted) for drift in drifts(uow))
        assert listed == sorted(
            [
                (both, "available", 9, 10),
                (both, "held", 2, 0),
                (held, "held", 5, 4),
                (empty, "available", 1, 0),
            ]
        )

    def test_an_account_with_nothing_posted(self, uow, make_account):
        """The held credits of an account without postings are drift, in full."""
        user = make_account(credits=0).user_id
        set_account(uow, user, held=1)
        assert books(uow) == (0, 1, 1)
        assert drifts(uow) == [Drift(user, "held", stored=1, posted=0)]

    def test_a_transfer_without_its_account(self, uow, make_account):
        """What an operator grants by a transfer alone is drift: no account has it."""
        user = make_account(credits=5).user_id
        given = {"kind": "grant", "credits": 3, "balance": 8, "description": "By hand"}
        purpose = {"reference_type": "grant", "reference_id": user}
        with uow.begin() as tx:
            tx.session.execute(insert(Transfer).values(user_id=user, **given, **purpose))
        assert books(uow) == (0, 1, 0)
        assert drifts(uow) == [Drift(user, "available", stored=5, posted=8)]

    def test_a_stray_posting(self, uow, make_account, owner):
        """A posting that no transfer made is in the sum of all, and in the account that it was posted to."""
        user = make_account(credits=5).user_id
        post_astray(owner, transfer_id=1, user_id=user, account="held", amount=3)
        assert books(uow) == (3, 1, 0)
        assert drifts(uow) == [Drift(user, "held", stored=0, posted=3)]
        with uow.read() as tx:
            assert Ledger(tx).sum_of_postings() == 3
