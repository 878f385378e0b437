from datetime import timedelta

import pytest
from sqlalchemy import update

from catalog.tiers import Tier
from server.clock import now
from server.entries import service as entries
from server.generations import settlement
from server.generations.states import Reason
from server.generations.tables import Generation
from server.observability import overview as overview_module
from server.observability.overview import overview
from server.scheduling.registry import STALE, WorkerRegistry
from server.scheduling.tables import RegisteredWorker

BASE = "avatar-creator:flux-dev-base"


class TestWorkers:
    def test_who_is_there_and_draws(self, uow, make_account, submit_one, claim):
        """A worker without a recent heartbeat is not there; each shows how many generations it draws."""
        submit_one(make_account())
        drawer = claim().worker
        with uow.begin() as tx:
            for name in (drawer, "silent"):
                WorkerRegistry(tx).record_heartbeat(name, "local", accepts=True)
            silent = update(RegisteredWorker).where(RegisteredWorker.name == "silent")
            tx.session.execute(silent.values(seen_at=now() - 2 * STALE))
        found = {worker.row.name: (worker.there, worker.drawing) for worker in overview(uow).workers}
        assert found == {drawer: (True, 1), "silent": (False, 0)}


class TestRecent:
    def test_what_was_delivered(self, uow, make_account, complete):
        """An entry shows how many it delivered in the last hour, how fast, and the seconds of each stage."""
        account = make_account()
        old, *new = [complete(account, step=seconds, decode=0.5) for seconds in (9.0, 1.0, 2.0, 3.0)]
        with uow.begin() as tx:
            before = update(Generation).where(Generation.id == old.id)
            tx.session.execute(before.values(completed_at=now() - timedelta(hours=2)))
        recent = overview(uow).recent[BASE]
        assert recent.delivered == len(new) == 3
        assert recent.per_minute == pytest.approx(3 / 60)
        assert recent.mean_s is not None
        assert recent.stages_s == {"step": 3.75, "decode": 0.5}

    def test_a_busy_hour_is_cut(self, uow, make_account, submit_one, deliver, monkeypatch):
        """Of more than are looked at, the rate is that of the time in which the newest ended."""
        monkeypatch.setattr(overview_module, "MOST_ENDED", 2)
        account = make_account()
        first = deliver(submit_one(account))
        deliver(submit_one(account))
        with uow.begin() as tx:
            earlier = update(Generation).where(Generation.id == first.id)
            tx.session.execute(earlier.values(completed_at=now() - timedelta(seconds=30)))
        recent = overview(uow).recent[BASE]
        assert recent.delivered == 2
        assert 3.5 < recent.per_minute <= 4

    def test_failures_by_cause(self, uow, make_account, submit_one, claim):
        """Failures are counted by their errorCode."""
        account = make_account(credits=200)
        for reason in (Reason.OUT_OF_MEMORY, Reason.OUT_OF_MEMORY, Reason.INTERNAL_ERROR):
            submit_one(account)
            settlement.fail(uow, claim(), reason, "test")
        assert overview(uow).failures == {"OUT_OF_MEMORY": 2, "INTERNAL_ERROR": 1}


class TestTheRest:
    def test_queue_credits_and_catalogue(self, uow, make_account, submit_one):
        """It shows what waits by tier, what is held, and entries that are not on offer."""
        entries.change(uow, BASE, enabled=True, credit_cost=9)
        entries.change(uow, "flux-schnell-fast", enabled=False)
        submit_one(make_account())
        found = overview(uow)
        assert {tier: queue.depth for tier, queue in found.queue.items() if queue.depth} == {Tier.FREE: 1}
        assert found.credits_held == 9
        assert {entry.short_key: entry.enabled for entry in found.entries} == {
            "flux-dev-base": True,
            "flux-schnell-fast": False,
            "flux-dev-realism": True,
            "flux-dev-hd-realism": True,
        }
        assert found.spent_usd == 0
