import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import update

from catalog.tiers import Tier
from server.accounts.repository import Users
from server.clock import now
from server.db.migrate import unmigrate
from server.generations import settlement
from server.generations.states import Reason
from server.generations.tables import Generation
from server.observability.metrics import FORMER_NAMES
from server.scheduling.registry import STALE, WorkerRegistry
from server.scheduling.tables import RegisteredWorker

ROOT = Path(__file__).parents[3]
ANOTHER_PROCESS = """
import json, os, sys, time
from urllib.request import urlopen
from pathlib import Path
from litestar.testing import TestClient
from server.application import create_app
from server.settings import Settings

with TestClient(create_app(Settings.from_environment(Path(sys.argv[1]), os.environ))) as client:
    while (port := client.app.state["metrics"].port) is None:
        time.sleep(0.01)
    with urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
        print(json.dumps(answer.read().decode()))
"""


def change(uow, generation_id, **values):
    """Change a generation as time would."""
    with uow.begin() as tx:
        tx.session.execute(update(Generation).where(Generation.id == generation_id).values(**values))


class TestQueue:
    def test_depth_and_age_are_exposed_by_tier(self, api, uow, make_account, submit_one, scrape):
        """Each tier has its depth and the age of its oldest pending generation; an empty tier has zeros."""
        free, pro = make_account(Tier.FREE), make_account(Tier.PRO)
        old, _, other = submit_one(free), submit_one(free), submit_one(pro)
        change(uow, old.id, created_at=now() - timedelta(seconds=3000))
        change(uow, other.id, created_at=now() - timedelta(seconds=1000))
        metrics = scrape(api)
        depths = {tier: metrics("queue_depth", tier=tier) for tier in ("free", "basic", "pro", "enterprise")}
        assert depths == {"free": 2, "basic": 0, "pro": 1, "enterprise": 0}
        assert 3000 <= metrics("queue_oldest_age_seconds", tier="free") < 4000
        assert 1000 <= metrics("queue_oldest_age_seconds", tier="pro") < 2000
        assert metrics("queue_oldest_age_seconds", tier="basic") == 0

    def test_a_claimed_generation_is_not_counted(self, api, make_account, submit_one, claim, scrape):
        """A generation that a worker has claimed is not in the queue."""
        submit_one(make_account())
        claim()
        assert scrape(api)("queue_depth", tier="free") == 0

    def test_lost_wakeups_are_counted(self, api, own_redis, make_account, submit_one, scrape):
        """Pending generations whose wake-ups Redis has lost are counted until the wake-ups are sent again."""
        account = make_account()
        submit_one(account)
        assert (scrape(api)("wakeups_waiting"), scrape(api)("wakeups_missing")) == (1, 0)
        own_redis.flushall()
        submit_one(account)
        metrics = scrape(api)
        assert (metrics("wakeups_waiting"), metrics("wakeups_missing")) == (1, 1)
        assert metrics("redis_up") == 1


class TestFormerNames:
    def test_both_names_have_the_value(self, api, own_redis, make_account, submit_one, scrape):
        """A renamed metric is also exposed under its former name, for one release."""
        submit_one(make_account())
        own_redis.flushall()
        submit_one(make_account())
        metrics = scrape(api)
        assert {new: metrics(new) for new in FORMER_NAMES} == {"wakeups_waiting": 1, "wakeups_missing": 1}
        assert all(metrics(former) == metrics(new) for new, former in FORMER_NAMES.items())


class TestWorkers:
    def test_only_ready_workers_are_counted(self, api, uow, scrape):
        """Workers that accept no work or have a stale heartbeat are not ready; a backend may have 0."""
        with uow.begin() as tx:
            for name in ("one", "two", "silent"):
                WorkerRegistry(tx).record_heartbeat(name, "local", accepts=True)
            WorkerRegistry(tx).record_heartbeat("resting", "local", accepts=False)
            silent = update(RegisteredWorker).where(RegisteredWorker.name == "silent")
            tx.session.execute(silent.values(seen_at=now() - 2 * STALE))
        metrics = scrape(api)
        assert metrics("workers_ready", backend="local") == 2
        assert metrics("workers_ready", backend="huggingface") == 0


class TestPartsAway:
    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    def test_a_database_that_is_away(self, open_api, scrape):
        """While the database refuses connections a scrape has the metrics that need no database."""
        with open_api(database_url="postgresql://nobody@127.0.0.1:1/nothing") as api:
            self.check_away(scrape(api))

    def test_a_database_without_tables(self, api, owner, scrape):
        """An unmigrated database counts as away."""
        assert scrape(api)("database_up") == 1
        unmigrate(owner.engine)
        self.check_away(scrape(api))

    def check_away(self, metrics):
        """Check that only the state of the parts and the wake-ups in Redis are there."""
        assert (metrics("database_up"), metrics("redis_up"), metrics("wakeups_waiting")) == (0, 1, 0)
        assert len(metrics.values) == 4  # one of them under its former name, too

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    def test_a_redis_that_is_away(self, open_api, make_account, scrape):
        """Without Redis the wake-ups are left out, and the queue is there."""
        with open_api(redis_url="redis://127.0.0.1:1/0") as api:
            api.generate(make_account())
            metrics = scrape(api)
        assert metrics("redis_up") == 0
        assert metrics("wakeups_waiting") is None
        assert metrics("wakeups_missing") is None
        assert metrics("queue_depth", tier="free") == 1


FORMER_SERIES = tuple(f"avatar_creator_{name}" for name in FORMER_NAMES.values())


def from_database(metrics):
    """Return the series that are the same at any moment: no ages, and nothing about Redis."""
    changing = (
        "avatar_creator_queue_oldest",
        "avatar_creator_wakeups",
        *FORMER_SERIES,
        "avatar_creator_redis",
    )
    return {series: value for series, value in metrics.values.items() if not series[0].startswith(changing)}


class TestScrape:
    def test_nothing_of_a_user_is_exposed(self, api, uow, make_account, submit_one, claim, complete, scrape):
        """No prompt, token, id, name of a project or error message is in the metrics."""
        account = make_account(credits=1000)
        done = complete(account, step=1.0)
        prompt = "a lighthouse keeper called Zebulon"
        failed = submit_one(account, prompt=prompt)
        settlement.fail(uow, claim(), Reason.INTERNAL_ERROR, prompt)
        pending = submit_one(account, prompt=prompt)
        exposed = scrape(api).text
        ids = [account.user_id, account.project_id, pending.id, failed.id, done.id, done.avatar_id]
        assert not [word for word in ("Zebulon", done.prompt, account.token, *ids) if word in exposed]

    def test_another_process_exposes_the_same(
        self, api, settings, make_account, submit_one, complete, scrape, parse
    ):
        """A process that has just started exposes the same values as one that served all requests."""
        account = make_account(credits=1000)
        complete(account, step=1.0)
        submit_one(account)
        environment = os.environ | {
            "PYTHONPATH": str(ROOT),
            "DATABASE_URL": settings.database.url,
            "REDIS_URL": settings.redis.url,
            "METRICS_PORT": "0",
            "REAPER_PERIOD_S": "3600",
        }
        ran = subprocess.run(
            [sys.executable, "-c", ANOTHER_PROCESS, str(settings.server.data_dir)],
            env=environment,
            check=False,
            capture_output=True,
            text=True,
        )
        assert ran.stdout, ran.stderr
        there, here = parse(json.loads(ran.stdout.splitlines()[-1])), scrape(api)
        assert there.ended("avatar-creator:flux-dev-base", "completed") == 1
        assert from_database(there) == from_database(here)

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    def test_a_scrape_only_reads(self, api, uow, scrape):
        """A scrape is served while another process holds SQLite's only write lock."""
        with uow.begin() as tx:
            Users(tx).add(None, Tier.FREE)
            assert scrape(api)("database_up") == 1
