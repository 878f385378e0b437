import pytest

from server.credits.repository import Ledger
from server.generations import settlement
from server.generations.holds import Holds, StrandedHold, void_stranded
from server.generations.states import Reason
from server.generations.tables import Generation
from tests.server.stored import end_by_hand, provenance_of, stored_image

pytestmark = pytest.mark.usefixtures("books_that_balance")


@pytest.fixture
def stranded(uow):
    """Read the open holds without an unfinished generation."""

    def read():
        with uow.read() as tx:
            return Holds(tx).stranded()

    return read


class TestHolds:
    def test_what_the_program_does_strands_nothing(self, make_account, submit_one, claim, uow, stranded):
        """Each unfinished generation has its open hold, and each open hold its unfinished generation."""
        account = make_account()
        for _ in range(4):
            submit_one(account)
        delivered = claim()
        with uow.read() as tx:
            generation = tx.session.get(Generation, delivered.generation_id)
        settlement.complete(uow, delivered, stored_image(), provenance_of(generation), {})
        settlement.fail(uow, claim(), Reason.INTERNAL_ERROR, "Broken.")
        claim()
        assert stranded() == []
        with uow.read() as tx:
            assert Holds(tx).count_without() == 0
        assert void_stranded(uow) == []

    def test_a_generation_that_ended_by_hand(
        self, make_account, submit_one, uow, stranded, balance_of, owner
    ):
        """The hold of a generation that ended without its settlement is voided once; others stay."""
        account = make_account(credits=20)
        ended, _waiting = submit_one(account), submit_one(account)
        end_by_hand(owner, ended.id)
        expected = [StrandedHold(ended.id, account.user_id, 8)]
        assert stranded() == expected
        assert void_stranded(uow) == expected
        assert stranded() == []
        assert void_stranded(uow) == []
        assert balance_of(account) == 12

    def test_a_generation_that_is_gone(self, make_account, uow, stranded, balance_of):
        """The hold of a generation that there is not is voided."""
        account = make_account(credits=20)
        with uow.begin() as tx:
            Ledger(tx).hold(account.user_id, 8, "gone", "Avatar generation")
        assert [hold.reference_id for hold in stranded()] == ["gone"]
        void_stranded(uow)
        assert balance_of(account) == 20

    def test_two_repairs_at_once(self, make_account, submit_one, uow, at_once, balance_of, owner):
        """Of several repairs at the same moment one gives the credits back."""
        account = make_account(credits=20)
        end_by_hand(owner, submit_one(account).id)
        voided = at_once(4, lambda: void_stranded(uow))
        assert sorted(map(len, voided)) == [0, 0, 0, 1]
        assert balance_of(account) == 20

    def test_a_generation_without_a_hold(self, make_account, submit_one, uow):
        """An unfinished generation whose hold was voided by hand is counted."""
        generation = submit_one(make_account())
        with uow.begin() as tx:
            Ledger(tx).void(generation.id)
        with uow.read() as tx:
            assert Holds(tx).count_without() == 1
