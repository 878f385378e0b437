"""The earlier release beside today's: its worker goes on drawing while the database is migrated under it."""

import json
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime

import httpx
import pytest
from sqlalchemy import func, select

from scripts.earlier import CommitMissing, unpack
from server.clock import now
from server.credits.repository import Ledger
from server.credits.tables import Transfer
from server.db.engine import open_engine
from server.db.migrate import migrate
from server.db.roles import make_roles
from server.db.unit_of_work import UnitOfWork
from tests.databases import OWNER, SERVER, as_role
from tests.e2e.program import COMMAND_TIMEOUT_S, STOP_TIMEOUT_S, User, environment, wait_for
from tests.server.uploads.mutations import DEEP

pytestmark = [pytest.mark.e2e, pytest.mark.deep]

BEFORE, AFTER, HANDED_OVER = 4, 2, 1
"""Generations that are ordered before the migration, after it, and while no worker runs."""

PRICE = 8
CREDITS = 100
ENDED = ("completed", "failed")


@pytest.fixture(scope="session")
def earlier(tmp_path_factory):
    """The folder with the earlier release's code."""
    folder = tmp_path_factory.mktemp("earlier")
    try:
        unpack(folder)
    except CommitMissing as missing:
        pytest.skip(str(missing))
    return folder


class Deployment:
    """One database, one Redis and one data folder, for processes of both releases."""

    def __init__(self, earlier, folder, database_url, redis_url, models_dir):
        self.earlier, self.folder, self.database_url = earlier, folder, database_url
        self.settings = {
            "REDIS_URL": redis_url,
            "DATA_DIR": str(folder / "data"),
            "RATE_LIMITS": "off",
            "DEVICE": "cpu",
        }
        self.models_dir = models_dir

    def earlier_environment(self):
        """The environment of a process of the earlier release, which is the database's superuser."""
        models = f"{self.earlier}-models"  # built once, and not by today's code
        return environment(
            PYTHONPATH=str(self.earlier), DATABASE_URL=self.database_url, MODELS_DIR=models, **self.settings
        )

    def todays_environment(self):
        """The environment of a process of today's."""
        url = as_role(self.database_url, SERVER)
        return environment(DATABASE_URL=url, MODELS_DIR=str(self.models_dir), **self.settings)

    def run_earlier(self, *arguments):
        """Run a command of the earlier release to its end, and return its output."""
        return subprocess.run(
            [sys.executable, "-P", "-m", "server.cli", *arguments],
            cwd=self.earlier,
            env=self.earlier_environment(),
            check=True,
            stdout=subprocess.PIPE,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
        ).stdout

    @contextmanager
    def running(self, environ, *arguments) -> Iterator[None]:
        """Run a process until the body ends, and stop it as an operator does. What it logs is in a file."""
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-P", "-m", "server.cli", *arguments],
                cwd=environ.get(
                    "PYTHONPATH", self.folder
                ),  # the earlier release starts children by python -m
                env=environ,
                stdout=log,
                stderr=log,
            )
        try:
            yield
            process.send_signal(signal.SIGTERM)
            assert process.wait(STOP_TIMEOUT_S) in (0, -signal.SIGTERM), self.log()
        finally:
            process.kill()
            process.wait()

    @contextmanager
    def api(self, environ) -> Iterator[str]:
        """Run an API, and give its address when it answers."""
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        url = f"http://127.0.0.1:{port}"
        with self.running(environ, "api", "--port", str(port)):
            wait_for("the API answers", lambda: answers(url))
            yield url

    def migrate(self):
        """Migrate as an operator does who updates: with roles, where the database has any."""
        if self.database_url.startswith("postgresql"):
            engine = open_engine(self.database_url)
            make_roles(engine, OWNER, SERVER)
            engine.dispose()
        engine = open_engine(as_role(self.database_url, OWNER))
        migrate(engine, server_role=SERVER.name if engine.dialect.name == "postgresql" else None)
        engine.dispose()

    def log(self):
        """Return the end of what all processes have logged."""
        return (self.folder / "log").read_text("utf-8")[-4000:]


def answers(url):
    try:
        return httpx.get(f"{url}/healthz", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False


# Of both databases PostgreSQL has more that an upgrade changes: roles and grants.
@pytest.fixture(params=["sqlite", "postgresql"] if DEEP else ["postgresql"])
def deployment(request, earlier, tmp_path, redis_url, models_dir):
    """A deployment of the earlier release, migrated and seeded by it."""
    with ExitStack() as stack:
        url = f"sqlite:///{tmp_path / 'data' / 'avatar-creator.db'}"
        if request.param == "postgresql":
            url = stack.enter_context(request.getfixturevalue("empty_postgres")())
        made = Deployment(earlier, tmp_path, url, redis_url, models_dir)
        (tmp_path / "data").mkdir()
        for command in ("migrate", "seed"):
            made.run_earlier(command)
        yield made


def test_the_earlier_worker_goes_on(deployment):
    """No generation is lost, each is charged once: drawn before the migration, after it, or handed over."""
    ordered = []
    with deployment.running(deployment.earlier_environment(), "worker"):
        with deployment.api(deployment.earlier_environment()) as url:
            created = deployment.run_earlier("users", "create", "--credits", str(CREDITS), "--json")
            token = json.loads(created)["apiKey"]
            user = User(url, token)
            ordered += [user.generate()["generation"]["id"] for _ in range(BEFORE)]
            wait_for("the worker draws", lambda: "processing" in states(user, ordered))
            deployment.migrate()
            migrated = now()
            assert not set(states(user, ordered)) <= set(ENDED), "the migration came too late"
            user.client.close()
        with deployment.api(deployment.todays_environment()) as url:
            user = User(url, token, user.project_id)
            ordered += [user.generate()["generation"]["id"] for _ in range(AFTER)]
            ended = [user.ended(generation) for generation in ordered]
            assert [each["status"] for each in ended] == ["completed"] * len(ordered), deployment.log()
            after = [each for each in ended if datetime.fromisoformat(each["completedAt"]) > migrated]
            assert len(after) > AFTER, "the earlier worker finished nothing of before after the migration"
            user.client.close()
    with (
        deployment.api(deployment.todays_environment()) as url,
        deployment.running(deployment.todays_environment(), "worker"),
    ):
        user = User(url, token, user.project_id)
        ordered += [user.generate()["generation"]["id"] for _ in range(HANDED_OVER)]
        assert [user.ended(each)["status"] for each in ordered] == ["completed"] * len(ordered)
        assert user.balance() == CREDITS - PRICE * len(ordered)
        user.client.close()
    uow = UnitOfWork(open_engine(as_role(deployment.database_url, SERVER)))
    with uow.read() as tx:
        assert Ledger(tx).sum_of_postings() == 0
        assert Ledger(tx).drifts() == []
        kinds = select(Transfer.kind, func.count()).where(Transfer.kind != "grant").group_by(Transfer.kind)
        assert dict(tx.session.execute(kinds).all()) == {"hold": len(ordered), "capture": len(ordered)}
    uow.close()


def states(user, generations):
    """Return the status of each generation."""
    return [user.generation(generation)["status"] for generation in generations]
