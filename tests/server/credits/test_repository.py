import pytest
from sqlalchemy import text, update
from sqlalchemy.exc import DatabaseError, IntegrityError

from server.credits.errors import CaptureBeyondHold, HoldMissing, InsufficientCredits
from server.credits.repository import Ledger
from server.credits.tables import Account

pytestmark = pytest.mark.usefixtures("books_that_balance")


def balances(uow, user_id):
    """Return a user's available and held credits."""
    with uow.read() as tx:
        account = tx.session.get(Account, user_id)
        return account.available, account.held


class TestHold:
    def test_a_hold_moves_credits_from_available_to_held(self, uow, make_account):
        """Held credits can no longer be spent, and are not yet taken."""
        user = make_account(credits=20).user_id
        with uow.begin() as tx:
            assert Ledger(tx).hold(user, 8, "generation-1", "test") == 12
        assert balances(uow, user) == (12, 8)

    def test_too_little_is_refused_with_both_numbers(self, uow, make_account):
        """A price above the balance raises an error with both numbers, and nothing is held."""
        user = make_account(credits=7).user_id
        with pytest.raises(InsufficientCredits) as refused, uow.begin() as tx:
            Ledger(tx).hold(user, 8, "generation-1", "test")
        assert (refused.value.required, refused.value.available) == (8, 7)
        assert str(refused.value) == "Insufficient credits. Required: 8, Available: 7"
        assert balances(uow, user) == (7, 0)

    def test_two_clients_and_one_last_credit(self, uow, make_account, at_once):
        """Of sixteen clients that spend the last eight credits at once, one wins."""
        user = make_account(credits=8).user_id
        numbers = iter(range(16))

        def spend():
            with uow.begin() as tx:
                return Ledger(tx).hold(user, 8, f"generation-{next(numbers)}", "test")

        outcomes = at_once(16, spend)
        assert outcomes.count(0) == 1
        assert sum(isinstance(outcome, InsufficientCredits) for outcome in outcomes) == 15
        assert balances(uow, user) == (0, 8)

    def test_one_generation_holds_once(self, uow, make_account):
        """A second hold for the same generation violates a constraint."""
        user = make_account().user_id
        with uow.begin() as tx:
            Ledger(tx).hold(user, 8, "generation-1", "test")
        with pytest.raises(IntegrityError), uow.begin() as tx:
            Ledger(tx).hold(user, 8, "generation-1", "test")
        assert balances(uow, user) == (92, 8)

    def test_a_free_hold_is_recorded(self, uow, make_account):
        """A hold of 0 credits, as enterprise users have it, can be captured like any other."""
        user = make_account(credits=0).user_id
        with uow.begin() as tx:
            Ledger(tx).hold(user, 0, "generation-1", "test")
            Ledger(tx).capture("generation-1", 0)
        assert balances(uow, user) == (0, 0)


class TestSettlement:
    def test_a_capture_takes_the_hold(self, uow, make_account):
        """A captured hold is gone from the account."""
        user = make_account(credits=20).user_id
        with uow.begin() as tx:
            Ledger(tx).hold(user, 8, "generation-1", "test")
        with uow.begin() as tx:
            Ledger(tx).capture("generation-1", 8)
        assert balances(uow, user) == (12, 0)

    def test_a_partial_capture_returns_the_rest(self, uow, make_account):
        """The part of a hold that is not captured comes back in the same transaction."""
        user = make_account(credits=20).user_id
        with uow.begin() as tx:
            Ledger(tx).hold(user, 12, "generation-1", "test")
            Ledger(tx).capture("generation-1", 8)
        assert balances(uow, user) == (12, 0)

    def test_a_void_returns_all(self, uow, make_account):
        """A voided hold can be spent again."""
        user = make_account(credits=20).user_id
        with uow.begin() as tx:
            Ledger(tx).hold(user, 8, "generation-1", "test")
            Ledger(tx).void("generation-1")
        assert balances(uow, user) == (20, 0)

    def test_more_than_the_hold_cannot_be_captured(self, uow, make_account):
        """A capture beyond the hold is refused."""
        user = make_account().user_id
        with uow.begin() as tx:
            Ledger(tx).hold(user, 8, "generation-1", "test")
        with pytest.raises(CaptureBeyondHold), uow.begin() as tx:
            Ledger(tx).capture("generation-1", 9)

    def test_what_was_never_held_cannot_end(self, uow, make_account):
        """A generation without a hold can be neither captured nor voided."""
        make_account()
        with pytest.raises(HoldMissing), uow.begin() as tx:
            Ledger(tx).void("generation-1")

    @pytest.mark.parametrize("first", ["capture", "void"])
    @pytest.mark.parametrize("second", ["capture", "void"])
    def test_a_hold_ends_once(self, uow, make_account, first, second):
        """A second end of one hold violates a constraint, whatever other holds the user has."""
        user = make_account(credits=20).user_id

        def end(how):
            with uow.begin() as tx:
                if how == "capture":
                    Ledger(tx).capture("generation-1", 8)
                else:
                    Ledger(tx).void("generation-1")

        with uow.begin() as tx:
            Ledger(tx).hold(user, 8, "generation-1", "test")
            Ledger(tx).hold(user, 8, "generation-2", "test")
        end(first)
        settled = balances(uow, user)
        with pytest.raises(IntegrityError):
            end(second)
        assert balances(uow, user) == settled

    def test_of_many_voids_at_once_one_counts(self, uow, make_account, at_once):
        """Of eight voids of one hold at the same moment, one succeeds."""
        user = make_account(credits=20).user_id
        with uow.begin() as tx:
            Ledger(tx).hold(user, 8, "generation-1", "test")
            Ledger(tx).hold(user, 8, "generation-2", "test")

        def void():
            with uow.begin() as tx:
                Ledger(tx).void("generation-1")

        outcomes = at_once(8, void)
        assert outcomes.count(None) == 1
        assert balances(uow, user) == (12, 8)


class TestGuards:
    @pytest.mark.parametrize("table", ["ledger_transfers", "ledger_postings"])
    @pytest.mark.parametrize("change", ["UPDATE {} SET user_id = user_id", "DELETE FROM {}"])
    def test_the_ledger_is_append_only(self, owner, make_account, table, change):
        """The database itself refuses to change or delete a posting."""
        make_account()
        with pytest.raises(DatabaseError, match="append-only"), owner.begin() as tx:
            tx.session.execute(text(change.format(table)))

    def test_no_account_goes_below_zero(self, uow, make_account):
        """The database itself refuses an overdraft."""
        user = make_account(credits=5).user_id
        with pytest.raises(IntegrityError), uow.begin() as tx:
            tx.session.execute(update(Account).where(Account.user_id == user).values(available=-1))

    def test_drift_is_found(self, uow, make_account):
        """An account that was changed by hand is reported with both figures."""
        user = make_account(credits=5).user_id

        def set_available(available):
            with uow.begin() as tx:
                tx.session.execute(update(Account).where(Account.user_id == user).values(available=available))

        set_available(6)
        with uow.read() as tx:
            drifts = Ledger(tx).drifts()
        set_available(5)
        assert [(drift.user_id, drift.account, drift.stored, drift.posted) for drift in drifts] == [
            (user, "available", 6, 5)
        ]
