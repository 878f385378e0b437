from datetime import timedelta

import pytest
from sqlalchemy import update

from server.clock import now
from server.errors import NotFound
from server.generations import settlement
from server.generations.previews import KEPT, WANTED, Picture, Previews, look
from server.generations.states import Reason
from server.generations.steps import record_step
from server.generations.tables import Preview


@pytest.fixture
def account(make_account):
    """A user with credits."""
    return make_account()


class TestLook:
    def test_a_look_has_pictures_made(self, uow, account, submit_one, claim):
        """Before the first look nothing is wanted; after it a worker's picture is what the next look sees."""
        generation = submit_one(account)
        held = claim()
        assert record_step(uow, held, "step", 1, 28) is False
        assert look(uow, account.caller, generation.id) is None
        assert record_step(uow, held, "step", 2, 28, b"two") is True
        assert look(uow, account.caller, generation.id) == Picture(2, b"two", generation.order)
        record_step(uow, held, "step", 5, 28, b"five")
        assert look(uow, account.caller, generation.id) == Picture(5, b"five", generation.order)

    def test_who_looks_no_more_wants_none(self, uow, account, submit_one, claim):
        """Some time after the last look no more pictures are wanted, until somebody looks again."""
        generation = submit_one(account)
        held = claim()
        look(uow, account.caller, generation.id)
        with uow.begin() as tx:
            tx.session.execute(update(Preview).values(wanted_until=now()))
        assert record_step(uow, held, "step", 2, 28) is False
        look(uow, account.caller, generation.id)
        assert record_step(uow, held, "step", 3, 28) is True

    def test_a_look_in_time_writes_nothing(self, uow, account, submit_one):
        """Who looks often renews the wish only when half of its time is over."""
        generation = submit_one(account)
        look(uow, account.caller, generation.id)
        with uow.read() as tx:
            until = Previews(tx).find(generation.id).wanted_until
        look(uow, account.caller, generation.id)
        with uow.read() as tx:
            assert Previews(tx).find(generation.id).wanted_until == until
        with uow.begin() as tx:
            tx.session.execute(update(Preview).values(wanted_until=now() + WANTED / 3))
        look(uow, account.caller, generation.id)
        with uow.read() as tx:
            assert Previews(tx).find(generation.id).wanted_until > until

    def test_anothers_and_what_has_ended(self, uow, account, make_account, submit_one, claim):
        """Another's generation is not found, and what has ended has no preview any more."""
        generation = submit_one(account)
        with pytest.raises(NotFound):
            look(uow, make_account().caller, generation.id)
        settlement.fail(uow, claim(), Reason.INTERNAL_ERROR, "test")
        with pytest.raises(NotFound):
            look(uow, account.caller, generation.id)

    def test_old_ones_are_forgotten(self, uow, account, submit_one):
        """What nobody has looked at for some minutes is deleted."""
        for _ in range(2):
            old = submit_one(account)
            look(uow, account.caller, old.id)
        with uow.begin() as tx:
            before = update(Preview).where(Preview.generation_id == old.id)
            tx.session.execute(before.values(wanted_until=now() - KEPT - timedelta(seconds=1)))
            assert Previews(tx).forget() == 1
            assert Previews(tx).find(old.id) is None
