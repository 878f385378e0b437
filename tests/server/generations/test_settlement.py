from dataclasses import replace
from functools import partial

import pytest
import sqlalchemy

from catalog.tiers import Tier
from server.avatars.repository import Avatars
from server.entries.tables import CatalogEntry
from server.events.repository import Events
from server.generations import settlement
from server.generations.claims import LeaseLost
from server.generations.repository import Generations
from server.generations.states import Reason
from tests.server.stored import provenance_of, stored_image

pytestmark = pytest.mark.usefixtures("books_that_balance")


def kinds(uow, generation_id):
    """Return the kinds of a generation's events, in order."""
    with uow.read() as tx:
        return [event.kind for event in Events(tx).of(generation_id)]


class TestComplete:
    def test_all_in_one(self, make_account, submit_one, claim, uow, generation_of, balance_of):
        """Completing makes the avatar, takes the credits and records the event."""
        account = make_account(Tier.BASIC, credits=20)
        generation = submit_one(account)
        image = stored_image()
        completed = settlement.complete(uow, claim(), image, provenance_of(generation), {"step": 0.5})
        ended = generation_of(generation.id)
        assert (ended.status, ended.avatar_id, ended.lease_until) == ("completed", completed.avatar_id, None)
        assert balance_of(account) == 8
        assert ended.provenance == provenance_of(generation)
        assert kinds(uow, generation.id) == ["queued", "completed"]
        with uow.read() as tx:
            avatar = Avatars(tx).owned_by(account.user_id, ended.avatar_id)
        assert (avatar.name, avatar.image_key, avatar.image_sha256) == ("Ada", image.key, image.sha256)

    def test_without_its_adapter_it_costs_the_base_price(
        self, make_account, submit_one, claim, uow, balance_of
    ):
        """Drawn without its LoRA, a realism generation takes the base entry's price and returns the rest."""
        account = make_account(Tier.BASIC, credits=20)
        generation = submit_one(account)
        assert balance_of(account) == 8
        provenance = provenance_of(generation, adapter=None)
        settlement.complete(uow, claim(), stored_image(), provenance, {})
        assert balance_of(account) == 12

    def test_a_late_worker_delivers_nothing(self, make_account, submit_one, claim, uow, balance_of):
        """A worker that lost its lease leaves no avatar, no capture and no event."""
        account = make_account(credits=20)
        generation = submit_one(account)
        late = claim("worker-1")
        settlement.return_lost(uow, worker="worker-1")
        current = claim("worker-2")
        with pytest.raises(LeaseLost):
            settlement.complete(uow, late, stored_image(), provenance_of(generation), {})
        settlement.complete(uow, current, stored_image(), provenance_of(generation), {})
        with uow.read() as tx:
            assert len(Avatars(tx).of_project(account.project_id, 100)) == 1
        assert balance_of(account) == 12

    def test_of_two_ends_at_once_one_counts(self, make_account, submit_one, claim, uow, at_once, balance_of):
        """A completion and a cancellation at the same moment end the generation once."""
        account = make_account(credits=20)
        generation = submit_one(account)
        held = claim()
        acts = iter(
            [
                partial(settlement.complete, uow, held, stored_image(), provenance_of(generation), {}),
                partial(settlement.cancel, uow, [generation.id]),
            ]
        )

        def act():
            return next(acts)()

        at_once(2, act)
        assert balance_of(account) in {12, 20}
        assert len(kinds(uow, generation.id)) == 2


class TestFail:
    def test_the_hold_comes_back(self, make_account, submit_one, claim, uow, generation_of, balance_of):
        """A failed generation costs nothing, and its message begins with the code."""
        account = make_account(credits=20)
        generation = submit_one(account)
        settlement.fail(uow, claim(), Reason.OUT_OF_MEMORY, "The memory does not suffice.")
        ended = generation_of(generation.id)
        assert (ended.status, ended.error_code) == ("failed", "OUT_OF_MEMORY")
        assert ended.error_message == "OUT_OF_MEMORY: The memory does not suffice."
        assert balance_of(account) == 20

    def test_it_fails_once(self, make_account, submit_one, claim, uow, balance_of):
        """A second failure of the same attempt is refused and returns no credits."""
        account = make_account(credits=20)
        submit_one(account)
        held = claim()
        settlement.fail(uow, held, Reason.INTERNAL_ERROR, "First.")
        with pytest.raises(LeaseLost):
            settlement.fail(uow, held, Reason.INTERNAL_ERROR, "Second.")
        assert balance_of(account) == 20


class TestCancel:
    def test_waiting_and_running_ones(self, make_account, submit_one, claim, uow, generation_of, balance_of):
        """Cancelling ends pending and running generations, voids their holds and fences the worker out."""
        account = make_account(credits=20)
        running, waiting = submit_one(account), submit_one(account)
        held = claim()
        assert settlement.cancel(uow, [running.id, waiting.id, "nothing"]) == 2
        assert {generation_of(generation.id).error_code for generation in (running, waiting)} == {"CANCELLED"}
        assert balance_of(account) == 20
        with pytest.raises(LeaseLost), uow.begin() as tx:
            Generations(tx).renew(held, 60)

    def test_what_has_ended_stays(self, make_account, submit_one, claim, uow, generation_of, balance_of):
        """A completed generation cannot be cancelled."""
        account = make_account(credits=20)
        generation = submit_one(account)
        settlement.complete(uow, claim(), stored_image(), provenance_of(generation), {})
        assert settlement.cancel(uow, [generation.id]) == 0
        assert generation_of(generation.id).status == "completed"
        assert balance_of(account) == 12

    def test_a_worker_that_claims_meanwhile(
        self, make_account, submit_one, claim, uow, generation_of, balance_of, beside, monkeypatch
    ):
        """A generation cannot be claimed while it is being cancelled."""
        account = make_account(credits=20)
        generation = submit_one(account)
        fail_waiting = Generations.fail_waiting
        claims = []

        def claiming(*arguments):
            claims.append(beside(claim))
            return fail_waiting(*arguments)

        monkeypatch.setattr(Generations, "fail_waiting", claiming)
        assert settlement.cancel(uow, [generation.id]) == 1
        assert claims[0].result() is None
        assert generation_of(generation.id).status == "failed"
        assert balance_of(account) == 20


class TestRelease:
    def test_the_hold_stays(self, make_account, submit_one, claim, uow, generation_of, balance_of):
        """A released generation is pending again and keeps its hold."""
        account = make_account(credits=20)
        generation = submit_one(account)
        settlement.release(uow, claim())
        assert generation_of(generation.id).status == "pending"
        assert balance_of(account) == 12
        assert kinds(uow, generation.id) == ["queued", "released"]


class TestOrder:
    @pytest.fixture
    def rows_in_order(self):
        """The order of writes to tables whose rows the settlements of several generations may share."""
        written = []

        def look(_connection, _cursor, statement, *_):
            tables = ("accounts", "spending_days", "tallies", "ai_models")
            starts = {table: (f"UPDATE {table} ", f"INSERT INTO {table} ") for table in tables}
            written.extend(table for table in tables if statement.startswith(starts[table]))

        sqlalchemy.event.listen(sqlalchemy.Engine, "before_cursor_execute", look)
        yield written
        sqlalchemy.event.remove(sqlalchemy.Engine, "before_cursor_execute", look)

    @pytest.mark.parametrize("delivered", [True, False])
    def test_every_settlement_locks_in_one_order(
        self, delivered, make_account, submit_one, claim, uow, rows_in_order
    ):
        """Every settlement locks the account, then the spending day, and no other row that is shared."""
        generation = submit_one(make_account(Tier.BASIC, credits=20))
        held = claim()
        rows_in_order.clear()
        if delivered:
            provenance = provenance_of(generation, cost_microusd=7)
            settlement.complete(uow, held, stored_image(), provenance, {"step": 0.5})
        else:
            settlement.fail(uow, held, Reason.OUT_OF_MEMORY, "Full.", [{"cost_microusd": 7}])
        assert list(dict.fromkeys(rows_in_order)) == ["accounts", "spending_days"]


class TestPriceWithoutTheAdapter:
    def test_it_never_exceeds_what_was_held(self, make_account, submit_one, claim, uow, balance_of):
        """A base entry that has become dearer than what was held takes no more than that."""
        account = make_account(Tier.BASIC, credits=20)
        generation = submit_one(account)
        with uow.begin() as tx:
            tx.session.get(CatalogEntry, ("avatar-creator", "avatar-creator:flux-dev-base")).credit_cost = 99
        settlement.complete(uow, claim(), stored_image(), provenance_of(generation, adapter=None), {})
        assert balance_of(account) == 8

    def test_no_base_entry_no_price(self, make_account, submit_one, claim, uow, balance_of, owner):
        """Where no entry draws with the base model alone, an image without its adapter is free."""
        account = make_account(Tier.BASIC, credits=20)
        generation = submit_one(account)
        with owner.begin() as tx:
            tx.session.delete(
                tx.session.get(CatalogEntry, ("avatar-creator", "avatar-creator:flux-dev-base"))
            )
        settlement.complete(uow, claim(), stored_image(), provenance_of(generation, adapter=None), {})
        assert balance_of(account) == 20

    def test_another_scale_is_another_image(self, make_account, submit_one, claim, uow, balance_of):
        """An adapter at another scale than ordered is not what was ordered, and takes the base price."""
        account = make_account(Tier.BASIC, credits=20)
        generation = submit_one(account)
        weaker = replace(generation.order.adapter, scale=0.5)
        settlement.complete(uow, claim(), stored_image(), provenance_of(generation, adapter=weaker), {})
        assert balance_of(account) == 12


class TestReturnLost:
    def test_leases_that_ran_out(self, make_account, submit_one, claim, uow):
        """Without a worker's name, what is lost is what no worker renewed in time, whoever held it."""
        account = make_account()
        for _ in range(3):
            submit_one(account)
        claim("worker-1", lease_s=-1)
        claim("worker-1", lease_s=60)
        claim("worker-2", lease_s=-1)
        assert settlement.return_lost(uow) == 2
