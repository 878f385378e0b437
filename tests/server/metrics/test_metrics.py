import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import insert, text, update

from catalog.tiers import Tier
from server.clock import now
from server.db.migrate import unmigrate
from server.db.tables import Account, Avatar, Event, Generation, Posting, Worker
from server.failover.store import STALE
from server.generations import settlement
from server.generations.states import Reason
from server.generations.store import LeaseLost

BASE = "avatar-creator:flux-dev-base"
REALISM = "avatar-creator:flux-dev-realism"
ROOT = Path(__file__).parents[3]
ANOTHER_PROCESS = """
import json, os, sys
from pathlib import Path
from litestar.testing import TestClient
from server.asgi import create_app
from server.settings import Settings

with TestClient(create_app(Settings.from_environment(Path(sys.argv[1]), os.environ))) as client:
    print(json.dumps(client.get("/metrics").text))
"""


class Scrape:
    """What one scrape found, parsed as a Prometheus parses it."""

    def __init__(self, exposition):
        self.text = exposition
        self.families = {family.name: family for family in text_string_to_metric_families(exposition)}
        samples = [sample for family in self.families.values() for sample in family.samples]
        self.values = {(sample.name, *sorted(sample.labels.items())): sample.value for sample in samples}
        assert len(self.values) == len(samples)  # no series twice

    def __call__(self, name, **labels):
        """Return a series' value, None if it was not told."""
        return self.values.get((f"avatar_creator_{name}", *sorted(labels.items())))

    def ended(self, entry, outcome, code=""):
        """Return how many generations of an entry ended so."""
        return self("generations_ended_total", entry=entry, outcome=outcome, error_code=code)


def scrape(api):
    """Scrape as a Prometheus does: without a token."""
    answer = api.client.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return Scrape(answer.text)


@pytest.fixture
def complete(uow, claim, submit_one, generation_of):
    """Submit a generation, and deliver it with the seconds of its stages."""

    def deliver(account, **seconds):
        generation = submit_one(account)
        avatar = Avatar(
            id=str(uuid4()),
            user_id=account.user_id,
            project_id=account.project_id,
            generation_id=generation.id,
            name="Ada",
            image_key=uuid4().hex,
            image_sha256="0" * 64,
            source_type="text_to_image",
        )
        making = {"adapter": generation.recipe["adapter"], "cost_microusd": 0}
        claimed = claim()
        assert claimed.generation_id == generation.id
        settlement.complete(uow, claimed, avatar, making, seconds)
        return generation_of(generation.id)

    return deliver


def change(uow, generation_id, **values):
    """Change a generation as time would."""
    with uow.begin() as tx:
        tx.session.execute(update(Generation).where(Generation.id == generation_id).values(**values))


class TestQueue:
    def test_depth_and_age_are_told_by_tier(self, api, uow, make_account, submit_one):
        """Each tier has its depth and the age of what waits longest in it; an empty one has zeros."""
        free, pro = make_account(Tier.FREE), make_account(Tier.PRO)
        old, _, other = submit_one(free), submit_one(free), submit_one(pro)
        change(uow, old.id, created_at=now() - timedelta(seconds=3000))
        change(uow, other.id, created_at=now() - timedelta(seconds=1000))
        found = scrape(api)
        depths = {tier: found("queue_depth", tier=tier) for tier in ("free", "basic", "pro", "enterprise")}
        assert depths == {"free": 2, "basic": 0, "pro": 1, "enterprise": 0}
        assert 3000 <= found("queue_oldest_age_seconds", tier="free") < 4000
        assert 1000 <= found("queue_oldest_age_seconds", tier="pro") < 2000
        assert found("queue_oldest_age_seconds", tier="basic") == 0

    def test_what_is_drawn_waits_no_more(self, api, make_account, submit_one, claim):
        """A generation that a worker has claimed is not in the queue."""
        submit_one(make_account())
        claim()
        assert scrape(api)("queue_depth", tier="free") == 0

    def test_lost_rings_are_told(self, api, own_redis, make_account, submit_one):
        """Pending generations whose rings Redis has lost are counted until they are rung for again."""
        account = make_account()
        submit_one(account)
        assert (scrape(api)("bell_rings_waiting"), scrape(api)("bell_rings_missing")) == (1, 0)
        own_redis.flushall()
        submit_one(account)
        found = scrape(api)
        assert (found("bell_rings_waiting"), found("bell_rings_missing")) == (1, 1)
        assert found("redis_up") == 1


class TestEnded:
    def test_every_end_is_counted_by_entry(self, api, uow, make_account, submit_one, claim, complete):
        """Completed, failed and cancelled generations count for their entries, what never happened as 0."""
        free, basic = make_account(Tier.FREE), make_account(Tier.BASIC)
        complete(free)
        complete(basic)
        complete(basic)
        submit_one(basic)
        settlement.fail(uow, claim(), Reason.OUT_OF_MEMORY, "test")
        settlement.cancel(uow, [submit_one(free).id])
        late = submit_one(free)
        settlement.fail_waiting(uow, [late.id], Reason.GENERATION_TIMEOUT, "test")
        found = scrape(api)
        assert found.ended(BASE, "completed") == 1
        assert found.ended(REALISM, "completed") == 2
        assert found.ended(REALISM, "failed", "OUT_OF_MEMORY") == 1
        assert found.ended(BASE, "failed", "OUT_OF_MEMORY") == 0
        assert found.ended(BASE, "cancelled", "CANCELLED") == 1
        assert found.ended(BASE, "failed", "GENERATION_TIMEOUT") == 1
        assert found.families["avatar_creator_generations_ended"].type == "counter"
        assert sum(sample.value for sample in found.families["avatar_creator_generations_ended"].samples) == 6

    def test_counters_outlive_the_generations(self, api, uow, make_account, complete):
        """When the generations and avatars of a project are deleted no counter falls."""
        complete(make_account(), step=2.0)
        before = counters(scrape(api))
        with uow.begin() as tx:
            tx.session.execute(text("DELETE FROM avatars"))
            tx.session.execute(text("DELETE FROM generations"))
        assert before[("avatar_creator_steps_total", ("entry", BASE))] == 28
        assert counters(scrape(api)) == before

    def test_ends_at_once_are_all_counted(self, api, uow, make_account, submit_one, at_once):
        """Generations that end at the same moment are counted each, however their transactions meet."""
        account = make_account(credits=1000)
        ids = [submit_one(account).id for _ in range(16)]
        assert at_once(8, lambda: settlement.cancel(uow, [ids.pop(), ids.pop()])) == [2] * 8
        assert scrape(api).ended(BASE, "cancelled", "CANCELLED") == 16

    def test_an_end_that_is_rolled_back_is_not_counted(self, api, uow, make_account, submit_one, claim):
        """A settlement that a fence turns away counts nothing."""
        submit_one(make_account())
        late = claim(lease_s=-1)
        settlement.lose(uow)
        with pytest.raises(LeaseLost):
            settlement.fail(uow, late, Reason.INTERNAL_ERROR, "test")
        assert scrape(api).ended(BASE, "failed", "INTERNAL_ERROR") == 0


def counters(found):
    """Return the series that may never fall."""
    rising = [family for family in found.families.values() if family.type in {"counter", "summary"}]
    names = {sample.name for family in rising for sample in family.samples}
    return {series: value for series, value in found.values.items() if series[0] in names}


class TestStages:
    def test_seconds_and_steps_of_an_entry(self, api, make_account, complete):
        """Each stage has its count and its seconds, the steps their number and their pace."""
        account = make_account(Tier.BASIC)
        complete(account, load=4.0, encode=0.25, step=2.0, decode=0.1)
        complete(account, encode=0.25, step=4.0, decode=0.2)
        found = scrape(api)
        stages = {
            stage: tuple(
                found(f"stage_seconds_{part}", entry=REALISM, stage=stage) for part in ("count", "sum")
            )
            for stage in ("load", "encode", "step", "decode")
        }
        assert stages == {"load": (1, 4.0), "encode": (2, 0.5), "step": (2, 6.0), "decode": (2, 0.3)}
        assert found("stage_seconds_count", entry=REALISM, stage="hosted") is None
        assert found("stage_seconds_count", entry=BASE, stage="step") is None
        assert found("steps_total", entry=REALISM) == 60
        assert found("steps_per_second", entry=REALISM) == 10

    def test_the_pace_is_that_of_the_last_hour(self, api, uow, make_account, complete):
        """What was drawn over an hour ago has no part in the pace, nor has an event without its steps."""
        complete(make_account(), step=28.0)
        with uow.begin() as tx:
            old = {"entry": BASE, "attempt": 1, "steps": 28, "seconds": {"step": 1.0}}
            at = now() - timedelta(hours=2)
            row = {"generation_id": "old", "kind": "completed", "data": old, "at": at}
            tx.session.execute(insert(Event).values(row))
            tx.events.append("older", "completed", attempt=1, seconds={"step": 1.0})
        assert scrape(api)("steps_per_second", entry=BASE) == 1

    def test_hosted_work_has_seconds_and_no_steps(self, api, make_account, complete):
        """A provider's time is a stage of its own, and its steps, which nobody saw, are not counted."""
        complete(make_account(), hosted=3.5)
        found = scrape(api)
        assert found("stage_seconds_sum", entry=BASE, stage="hosted") == 3.5
        assert found("steps_total", entry=BASE) is None
        assert found("steps_per_second", entry=BASE) is None

    def test_sums_are_free_of_the_order_of_rows(self, api, make_account, complete):
        """A sum of seconds is exact, so that it never falls by the last bit of a fraction."""
        account = make_account(credits=1000)
        for _ in range(3):
            complete(account, step=0.1)
        assert scrape(api)("stage_seconds_sum", entry=BASE, stage="step") == 0.3


class TestCredits:
    def test_a_generation_moves_credits(self, api, uow, make_account, submit_one, claim, complete):
        """What is held is told as it is, what was captured and voided as it adds up."""
        account = make_account(credits=100)
        submit_one(account)
        found = scrape(api)
        assert found("credits_held") == 8
        assert moved(found) == {"grant": 100, "hold": 8, "capture": 0, "void": 0}
        settlement.fail(uow, claim(), Reason.INTERNAL_ERROR, "test")
        complete(account)
        found = scrape(api)
        assert found("credits_held") == 0
        assert moved(found) == {"grant": 100, "hold": 16, "capture": 8, "void": 8}
        assert (found("ledger_drifting_accounts"), found("ledger_postings_sum")) == (0, 0)

    def test_a_posting_too_many_is_drift(self, api, uow, make_account):
        """A posting that no transfer made shows in the sum and in the account that it was posted to."""
        user = make_account().user_id
        make_account()
        with uow.begin() as tx:
            stray = {"transfer_id": 1, "user_id": user, "account": "available", "amount": 5}
            tx.session.execute(insert(Posting).values(stray))
        found = scrape(api)
        assert (found("ledger_drifting_accounts"), found("ledger_postings_sum")) == (1, 5)

    def test_an_account_changed_by_hand_is_drift(self, api, uow, make_account):
        """An account that differs from its postings drifts, though these still sum to zero."""
        changed, empty = make_account(), make_account(credits=0)
        with uow.begin() as tx:
            tx.session.execute(update(Account).where(Account.user_id == changed.user_id).values(available=99))
            tx.session.execute(update(Account).where(Account.user_id == empty.user_id).values(held=1))
        found = scrape(api)
        assert (found("ledger_drifting_accounts"), found("ledger_postings_sum")) == (2, 0)


def moved(found):
    """Return the credits moved by kind."""
    kinds = ("grant", "hold", "capture", "void")
    return {kind: found("credits_moved_total", kind=kind) for kind in kinds}


class TestWorkers:
    def test_only_ready_workers_are_counted(self, api, uow):
        """A worker that rests or has fallen silent is not ready; a backend without one has 0."""
        with uow.begin() as tx:
            for name in ("one", "two", "silent"):
                tx.workers.tell(name, "local", accepts=True)
            tx.workers.tell("resting", "local", accepts=False)
            silent = update(Worker).where(Worker.name == "silent")
            tx.session.execute(silent.values(seen_at=now() - 2 * STALE))
        found = scrape(api)
        assert found("workers_ready", backend="local") == 2
        assert found("workers_ready", backend="huggingface") == 0


class TestPartsAway:
    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    def test_a_database_that_is_away(self, open_api):
        """A scrape is answered while the database refuses connections, with what is known without it."""
        with open_api(database_url="postgresql://nobody@127.0.0.1:1/nothing") as api:
            self.check_away(scrape(api))

    def test_a_database_without_tables(self, api, uow):
        """A database that nobody migrated counts as away."""
        assert scrape(api)("database_up") == 1
        unmigrate(uow.engine)
        self.check_away(scrape(api))

    def check_away(self, found):
        """Check that only the state of the parts and the rings of Redis are told."""
        assert (found("database_up"), found("redis_up"), found("bell_rings_waiting")) == (0, 1, 0)
        assert len(found.values) == 3

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    def test_a_redis_that_is_away(self, open_api, make_account):
        """Without Redis the rings are not told, and the queue is."""
        with open_api(redis_url="redis://127.0.0.1:1/0") as api:
            api.generate(make_account())
            found = scrape(api)
        assert found("redis_up") == 0
        assert found("bell_rings_waiting") is None
        assert found("bell_rings_missing") is None
        assert found("queue_depth", tier="free") == 1


class TestScrape:
    def test_nothing_of_a_user_is_told(self, api, uow, make_account, submit_one, claim, complete):
        """No prompt, token, id, name of a project or sentence of an error is in the metrics."""
        account = make_account(credits=1000)
        done = complete(account, step=1.0)
        prompt = "a lighthouse keeper called Zebulon"
        failed = submit_one(account, prompt=prompt)
        settlement.fail(uow, claim(), Reason.INTERNAL_ERROR, prompt)
        pending = submit_one(account, prompt=prompt)
        told = scrape(api).text
        ids = [account.user_id, account.project_id, pending.id, failed.id, done.id, done.avatar_id]
        assert not [word for word in ("Zebulon", account.token, *ids) if word in told]

    def test_another_process_tells_the_same(self, api, settings, make_account, submit_one, complete):
        """A process that has just started tells the same figures as one that has seen it all."""
        account = make_account(credits=1000)
        complete(account, step=1.0)
        submit_one(account)
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "DATABASE_URL": settings.database_url,
            "REDIS_URL": settings.redis_url,
        }
        ran = subprocess.run(
            [sys.executable, "-c", ANOTHER_PROCESS, str(settings.data_dir)],
            env=environment,
            check=False,
            capture_output=True,
            text=True,
        )
        assert ran.stdout, ran.stderr
        there, here = Scrape(json.loads(ran.stdout.splitlines()[-1])), scrape(api)
        ages = {series for series in here.values if series[0] == "avatar_creator_queue_oldest_age_seconds"}
        assert {series: here.values[series] for series in here.values.keys() - ages} == {
            series: there.values[series] for series in there.values.keys() - ages
        }

    def test_only_reading_is_done(self, api, uow):
        """A scrape is served while another process holds the write lock."""
        with uow.begin():
            assert scrape(api)("database_up") == 1
