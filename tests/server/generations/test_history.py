import pytest

from catalog.tiers import Tier
from server.events.repository import Events
from server.events.tables import Kind
from server.generations import settlement
from server.generations.claims import LeaseLost
from server.generations.history import HAPPENINGS, History
from server.generations.states import Reason
from server.generations.steps import record_step
from tests.server.stored import provenance_of, stored_image


@pytest.fixture
def history(uow):
    """Read what happened to a generation."""

    def of(generation_id, after=0):
        with uow.read() as tx:
            return History(tx).of_generation(generation_id, after, 100)

    return of


class TestHappenings:
    def test_every_kind_of_event_has_a_meaning_for_the_owner(self):
        """No kind can be added without one: it would end every stream."""
        assert HAPPENINGS.keys() == set(Kind)

    def test_a_generation_s_events_tell_its_way(self, make_account, submit_one, claim, uow, history):
        """Queued, started, lost and so queued again, started, drawn and completed, in this order."""
        generation = submit_one(make_account(Tier.FREE))
        lost = claim("worker-1")
        settlement.return_lost(uow, "worker-1")
        held = claim("worker-2")
        record_step(uow, held, "step", 3, 28)
        settlement.complete(uow, held, stored_image(), provenance_of(generation), {})
        assert lost.attempt == 1
        found = history(generation.id)
        # Claims append their event in the worker's attempt, which this test does not run.
        assert [one.happening for one in found] == ["queued", "queued", "step", "completed"]
        assert [one.is_final for one in found] == [False, False, False, True]
        assert found[-1].image_key is not None
        assert {one.status for one in found} == {"completed"}

    def test_a_reader_goes_on_after_any_id(self, make_account, submit_one, claim, uow, history):
        """What comes after each id is what comes after it in the whole."""
        generation = submit_one(make_account())
        held = claim()
        for step in range(1, 5):
            record_step(uow, held, "step", step, 28)
        ids = [one.id for one in history(generation.id)]
        for cut, known in enumerate(ids):
            assert [one.id for one in history(generation.id, known)] == ids[cut + 1 :]

    def test_a_user_s_history_holds_nobody_else_s(self, make_account, submit_one, uow):
        """Events of other users' generations are not there, nor what comes after the limit."""
        ada, eve = make_account(), make_account()
        own = submit_one(ada)
        submit_one(eve)
        later = submit_one(ada)
        with uow.read() as tx:
            newest = Events(tx).newest_id()
            found = History(tx).of_user(ada.user_id, 0, newest, 100)
            earlier = History(tx).of_user(ada.user_id, 0, newest - 1, 100)
        assert [one.generation_id for one in found] == [own.id, later.id]
        assert [one.generation_id for one in earlier] == [own.id]


class TestRecordedSteps:
    def test_a_lost_attempt_records_nothing(self, make_account, submit_one, claim, uow, history):
        """A worker whose generation was cancelled or given to another appends no step."""
        generation = submit_one(make_account())
        held = claim()
        settlement.fail(uow, held, Reason.OUT_OF_MEMORY, "Too large.")
        with pytest.raises(LeaseLost):
            record_step(uow, held, "step", 3, 28)
        assert history(generation.id)[-1].is_final
