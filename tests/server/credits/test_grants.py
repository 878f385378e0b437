"""Grants by their references, and the first credits of an account."""

import pytest
from sqlalchemy import select

from server.credits.errors import GrantDiffers
from server.credits.repository import Ledger
from server.credits.tables import Transfer

pytestmark = pytest.mark.usefixtures("books_that_balance")


@pytest.fixture
def grants_of(uow):
    """Read what a user was granted: credits, description and reference of each grant."""

    def read(user_id):
        columns = (Transfer.credits, Transfer.description, Transfer.grant_reference)
        with uow.read() as tx:
            rows = tx.session.execute(
                select(*columns).where(Transfer.user_id == user_id).order_by(Transfer.id)
            )
            return [tuple(row) for row in rows]

    return read


class TestFirstCredits:
    def test_they_have_a_reference(self, uow, make_user, grants_of):
        """The first credits of an account are a grant under a reference that has the user's id."""
        user = make_user()
        with uow.begin() as tx:
            Ledger(tx).open_account(user, 10, "Welcome")
            assert Ledger(tx).available(user) == 10
        assert grants_of(user) == [(10, "Welcome", f"first:{user}")]

    def test_they_need_no_description(self, uow, make_user, grants_of):
        """The first credits may go without a word."""
        user = make_user()
        with uow.begin() as tx:
            Ledger(tx).open_account(user, 1)
        assert grants_of(user) == [(1, "", f"first:{user}")]

    def test_there_may_be_none(self, uow, make_user, grants_of):
        """An account is empty by default, and nothing is granted."""
        user = make_user()
        with uow.begin() as tx:
            Ledger(tx).open_account(user)
            assert Ledger(tx).available(user) == 0
        assert grants_of(user) == []


class TestWasGranted:
    def test_only_the_very_grant(self, uow, make_account):
        """A grant was made if its user, credits and reference are those of a grant that was."""
        user = make_account(credits=3).user_id
        with uow.begin() as tx:
            ledger = Ledger(tx)
            assert not ledger.was_granted(user, 5, "gift-1")
            ledger.grant(user, 5, "A gift", user, reference="gift-1")
            assert ledger.was_granted(user, 5, "gift-1")
            assert not ledger.was_granted(user, 5, "gift-2")

    def test_another_grant_has_the_reference(self, uow, make_account):
        """Another amount or another user under a reference is refused, with what was granted under it."""
        user, other = make_account().user_id, make_account().user_id
        with uow.begin() as tx:
            ledger = Ledger(tx)
            ledger.grant(user, 5, "A gift", user, reference="gift-1")
            for who, amount in ((user, 6), (other, 5)):
                with pytest.raises(GrantDiffers) as refused:
                    ledger.was_granted(who, amount, "gift-1")
                assert refused.value == GrantDiffers("gift-1", user, 5)

    def test_grants_at_once_take_turns(self, uow, make_account, grants_of, at_once):
        """Of eight that look and then grant, at the same moment, one grants and seven find the grant."""
        user = make_account(credits=0).user_id
        make_account()

        def grant():
            with uow.begin() as tx:
                if found := Ledger(tx).was_granted(user, 5, "gift-1"):
                    return found
                Ledger(tx).grant(user, 5, "A gift", user, reference="gift-1")
                return False

        assert sorted(at_once(8, grant)) == [False] + [True] * 7
        assert grants_of(user) == [(5, "A gift", "gift-1")]
