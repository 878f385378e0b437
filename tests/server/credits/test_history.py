"""The credit history: its entries, and that they add up to what can be spent."""

from itertools import pairwise
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from server.credits.errors import InsufficientCredits
from server.credits.repository import Ledger

pytestmark = pytest.mark.usefixtures("books_that_balance")

EVERYTHING = 1000
ACTS = st.one_of(
    st.tuples(st.sampled_from(["give", "sell"]), st.integers(1, 60)),
    st.tuples(st.just("hold"), st.integers(0, 40)),
    st.tuples(st.just("capture"), st.fractions(0, 1)),
    st.tuples(st.just("void"), st.none()),
)


def history(uow, user_id, limit=EVERYTHING):
    with uow.read() as tx:
        return Ledger(tx).history(user_id, limit)


def act(uow, user_id, holds, kind, size):
    """Change a user's credits at random; holds are those that have not ended, by generation."""
    with uow.begin() as tx:
        ledger = Ledger(tx)
        if kind in {"give", "sell"}:
            ledger.grant(user_id, size, "Some credits", user_id, "pay-1" if kind == "sell" else None)
        elif kind == "hold":
            generation_id = str(uuid4())
            ledger.hold(user_id, size, generation_id, "An image")
            holds[generation_id] = size
        elif holds:
            generation_id, held = holds.popitem()
            if kind == "capture":
                ledger.capture(generation_id, int(held * size))
            else:
                ledger.void(generation_id)


class TestSums:
    @hypothesis_settings(
        max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(st.lists(ACTS, max_size=25))
    def test_the_amounts_add_up_to_the_balances(self, uow, make_account, acts):
        """Whatever happens, each balance is the one before it and the amount; the last is what is there."""
        user = make_account(credits=0).user_id
        holds = {}
        for kind, size in acts:
            try:
                act(uow, user, holds, kind, size)
            except InsufficientCredits:
                continue
        entries = history(uow, user)
        for newer, older in pairwise(entries):
            assert newer.balance == older.balance + newer.amount
        with uow.read() as tx:
            available = Ledger(tx).available(user)
        assert sum(entry.amount for entry in entries) == available
        assert (entries[0].balance if entries else 0) == available
        assert all((entry.amount <= 0) is (entry.kind == "usage") or not entry.amount for entry in entries)


class TestEntries:
    def test_each_kind_of_transfer(self, uow, make_account):
        """Gifts, purchases, holds, voids and rests are entries, the newest first; a whole capture is none."""
        user = make_account(credits=0).user_id
        with uow.begin() as tx:
            ledger = Ledger(tx)
            ledger.grant(user, 10, "Welcome credits", user)
            ledger.grant(user, 100, "The small pack", user, "pay-7")
            for number, held in enumerate((8, 12, 15)):
                ledger.hold(user, held, f"generation-{number}", "Avatar generation")
            ledger.capture("generation-0", 8)
            ledger.capture("generation-1", 8)
            ledger.void("generation-2")
        entries = history(uow, user)
        assert [(entry.kind, entry.amount, entry.balance) for entry in entries] == [
            ("refund", 15, 94),
            ("refund", 4, 79),
            ("usage", -15, 75),
            ("usage", -12, 90),
            ("usage", -8, 102),
            ("purchase", 100, 110),
            ("bonus", 10, 10),
        ]
        assert [entry.payment_id for entry in entries] == [None] * 5 + ["pay-7", None]
        assert (entries[0].reference_type, entries[0].reference_id) == ("generation", "generation-2")
        assert (entries[-1].reference_type, entries[-1].reference_id) == ("grant", user)

    def test_a_free_use_is_an_entry(self, uow, make_account):
        """An enterprise user's generation is a usage of nothing."""
        user = make_account(credits=0).user_id
        with uow.begin() as tx:
            Ledger(tx).hold(user, 0, "generation-1", "Avatar generation")
            Ledger(tx).capture("generation-1", 0)
        assert [(entry.kind, entry.amount, entry.balance) for entry in history(uow, user)] == [
            ("usage", 0, 0)
        ]

    def test_it_is_ones_own_and_no_longer_than_asked(self, uow, make_account):
        """Other users' transfers are left out, and of one's own the oldest beyond the limit."""
        user = make_account(credits=5).user_id
        make_account(credits=7)
        with uow.begin() as tx:
            for given_now in (1, 2, 3):
                Ledger(tx).grant(user, given_now, "More", user)
        assert [entry.amount for entry in history(uow, user, limit=2)] == [3, 2]


class TestCaptured:
    def test_what_was_taken_for_each(self, uow, make_account):
        """Only captures count, each by its generation."""
        user = make_account(credits=50).user_id
        with uow.begin() as tx:
            for number in range(4):
                Ledger(tx).hold(user, 10, f"generation-{number}", "Avatar generation")
            Ledger(tx).capture("generation-0", 10)
            Ledger(tx).capture("generation-1", 4)
            Ledger(tx).void("generation-2")
            asked = [f"generation-{number}" for number in (0, 1, 2, 3, 9)]
            assert Ledger(tx).captured(asked) == {"generation-0": 10, "generation-1": 4}
            assert Ledger(tx).captured([]) == {}
