import asyncio
import json
from contextlib import contextmanager

import pytest
from sqlalchemy import create_engine, delete, text, update

from catalog.entries import shipped_entries
from catalog.tiers import Tier
from server.db.engine import open_engine
from server.db.migrate import migrate, unmigrate
from server.db.unit_of_work import UnitOfWork
from server.entries.repository import Entries
from server.entries.tables import CatalogEntry
from server.scheduling.claim_policy import LOCAL
from server.scheduling.registry import WorkerRegistry, retire

PREFIX = "/api/avatar-creator"
BASE = "avatar-creator:flux-dev-base"


def change(uow, statement, **values):
    """Change the database as an operator does, with SQL."""
    with uow.begin() as tx:
        tx.session.execute(text(statement), values)


def unavailable(api, answer):
    """Check that an answer is a 503 with a time to wait, and return the error."""
    error = api.refused(answer, 503, "SERVICE_UNAVAILABLE")
    assert error["retryable"] is True
    assert error["retryAfter"] > 0
    return error


class TestCatalogue:
    def test_without_a_catalogue_generations_are_refused(self, api, owner, make_account):
        """With an empty catalogue generations are refused, and readiness names the command to run."""
        account = make_account()
        with owner.begin() as tx:
            tx.session.execute(delete(CatalogEntry))
        error = api.refused(api.generate(account), 404, "RESOURCE_NOT_FOUND")
        assert error["message"] == "No AI models available for Avatar Creator"
        api.nothing_happened(account)
        ready = api.client.get("/readyz")
        assert ready.status_code == 503
        assert "avatar-creator seed" in ready.json()["checks"]["catalogue"]
        assert api.client.get(f"{PREFIX}/health").json()["ready"] is False

    def test_a_tier_without_an_entry_is_refused(self, api, uow, make_account, worker_ready):
        """With the base entry disabled a free user has no entry, and other tiers still have theirs."""
        free, basic = make_account(Tier.FREE), make_account(Tier.BASIC)
        with uow.begin() as tx:
            base = update(CatalogEntry).where(CatalogEntry.model_key == BASE)
            tx.session.execute(base.values(enabled=False))
        error = api.refused(api.generate(free), 404, "RESOURCE_NOT_FOUND")
        assert error["message"] == "No AI models available for Avatar Creator"
        api.refused(api.generate(basic, modelKey=BASE), 400, "VALIDATION_ERROR", "modelKey")
        assert api.generate(basic).status_code == 200
        worker_ready()
        assert api.client.get("/readyz").status_code == 200

    @pytest.mark.parametrize("broken", ["{}", "[]", '{"width": "large"}'])
    def test_a_malformed_entry_is_left_out(self, api, uow, make_account, log_lines, worker_ready, broken):
        """An entry that an operator has broken is left out and named by readiness; the others stay."""
        realism = "avatar-creator:flux-dev-realism"
        change(uow, "UPDATE ai_models SET capabilities = :it WHERE model_key = :key", it=broken, key=realism)
        basic = make_account(Tier.BASIC)
        accepted = api.generate(basic)
        assert accepted.status_code == 200, accepted.text
        assert json.loads(accepted.json()["generation"]["options"])["modelKey"] == BASE
        api.refused(api.generate(basic, modelKey=realism), 400, "VALIDATION_ERROR", "modelKey")
        worker_ready()
        ready = api.client.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (200, "degraded")
        assert realism in ready.json()["checks"]["catalogue"]
        assert realism in {line.get("entry") for line in log_lines()}


class TestQueueFull:
    def test_a_full_queue_answers_with_a_time_to_wait(self, open_api, make_account):
        """Beyond the queue's depth a generation is refused with a time to wait, and nothing is held."""
        account = make_account()
        with open_api(queue_max_depth=2) as api:
            assert [api.generate(account).status_code for _ in range(2)] == [200, 200]
            answer = api.generate(account)
            assert unavailable(api, answer)["retryAfter"] == 30
            assert api.generations() == 2
            assert api.account(account) == (84, 16)


class TestTooManyUnfinished:
    def test_a_user_with_many_unfinished_generations(self, open_api, make_account):
        """Beyond a user's share of the queue a generation is refused with a time to wait, nothing is held."""
        account, other = make_account(), make_account()
        with open_api(queue_max_per_user=2) as api:
            assert [api.generate(account).status_code for _ in range(2)] == [200, 200]
            error = api.refused(api.generate(account), 429, "RATE_LIMIT_EXCEEDED")
            assert (error["retryable"], error["retryAfter"]) == (True, 30)
            assert api.generations() == 2
            assert api.account(account) == (84, 16)
            assert api.generate(other).status_code == 200


@contextmanager
def closed(postgres, database):
    """Refuse new connections to a PostgreSQL database while the body runs, and end the open ones."""
    url = postgres("postgres").replace("postgresql:", "postgresql+psycopg:")
    admin = create_engine(url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text(f"ALTER DATABASE {database} ALLOW_CONNECTIONS false"))
        connection.execute(
            text("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = :name"),
            {"name": database},
        )
        yield
        connection.execute(text(f"ALTER DATABASE {database} ALLOW_CONNECTIONS true"))
    admin.dispose()


class TestDatabaseAway:
    def check_away(self, api, account):
        """Check the answers to a client while the database is away."""
        unavailable(api, api.generate(account))
        unavailable(api, api.client.get(f"{PREFIX}/projects", headers=account.headers))
        unavailable(api, api.client.get("/api/models/popular"))
        ready = api.client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["checks"]["database"] != "ok"
        assert api.client.get("/healthz").status_code == 200
        assert api.client.get(f"{PREFIX}/health").json()["ready"] is False

    @pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
    def test_a_postgresql_that_went_away_can_come_back(self, api, uow, make_account, postgres, database_url):
        """While PostgreSQL is away requests are 503 with Retry-After, and afterwards they succeed."""
        account = make_account()
        assert api.generate(account).status_code == 200
        with closed(postgres, uow.engine.url.database):
            self.check_away(api, account)
        assert api.generate(account).status_code == 200
        assert api.balance(account) == 84

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    def test_a_sqlite_file_without_tables_is_no_bug(self, api, uow, make_account, worker_ready, database_url):
        """On an unmigrated SQLite file requests are 503 with Retry-After until it is migrated."""
        account = make_account()
        unmigrate(uow.engine)
        self.check_away(api, account)
        migrate(uow.engine)
        with UnitOfWork(open_engine(database_url)).begin() as tx:
            Entries(tx).seed(shipped_entries())
        worker_ready()
        assert api.client.get("/readyz").status_code == 200

    @pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
    def test_a_postgresql_without_tables_is_no_bug(self, api, owner, make_account, database_url, log_lines):
        """On an unmigrated PostgreSQL requests are 503 with Retry-After, and the log has the cause."""
        account = make_account()
        unmigrate(owner.engine)
        self.check_away(api, account)
        causes = [line["cause"] for line in log_lines() if line["event"] == "request.database_away"]
        assert causes
        assert all("does not exist" in cause for cause in causes)


class TestReadiness:
    @pytest.fixture(autouse=True)
    def _ready(self, worker_ready):
        """A worker is there, so that only what a test breaks is not well."""
        worker_ready()

    def ready(self, api):
        """Return the status of /readyz, and its sentence on each part."""
        answer = api.client.get("/readyz")
        return answer.status_code, answer.json()["checks"]

    def test_an_older_revision(self, api, owner):
        """On a database that lacks a revision the API is not ready, and says which."""
        change(owner, "UPDATE alembic_version SET version_num = '0010'")
        status, checks = self.ready(api)
        assert status == 503
        assert "avatar-creator migrate" in checks["database"]

    def test_a_newer_revision(self, api, owner):
        """On a database that a newer release has migrated the API goes on, since migrations only add."""
        change(owner, "UPDATE alembic_version SET version_num = '9999'")
        assert self.ready(api)[0] == 200

    def test_no_worker(self, api, uow):
        """Without a worker that takes generations the API is not ready; it says why the last one went."""
        retire(uow, LOCAL, "gpu-one", was_ready=True, cause="The driver is too old")
        status, checks = self.ready(api)
        assert (status, "The driver is too old" in checks["workers"]) == (503, True)
        with uow.begin() as tx:
            WorkerRegistry(tx).remove("gpu-one")
        status, checks = self.ready(api)
        assert (status, checks["workers"].partition(":")[0]) == (503, "No worker is ready")

    def test_a_full_disk(self, api, monkeypatch):
        """With no room for an image the API is not ready, and says so."""
        monkeypatch.setattr("server.images.store.ROOM_BYTES", 2**60)
        status, checks = self.ready(api)
        assert status == 503
        assert "disk" in checks["storage"]

    def test_a_full_redis(self, api, own_redis):
        """A Redis that takes no writes is told, and refuses nothing."""
        own_redis.config_set("maxmemory", 1)
        try:
            status, checks = self.ready(api)
        finally:
            own_redis.config_set("maxmemory", 0)
        assert status == 200
        assert "full" in checks["redis"]

    def test_a_frozen_process(self, api, monkeypatch):
        """A process whose threads are all busy for seconds is not alive."""
        monkeypatch.setattr("server.routes.operations.FROZEN_S", 0.2)
        monkeypatch.setattr("server.routes.operations.sync_to_thread", lambda _: asyncio.sleep(5))
        assert api.client.get("/healthz").status_code == 503
