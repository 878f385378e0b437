"""The engine for either database, its deadlines, and how SQLite is made as strict as PostgreSQL."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

import psycopg
from psycopg.errors import _WaitTimeout
from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event, make_url

POOL_SIZE: Final = 20  # the API has at most 40 threads, of which few hold a connection at a time
SQLITE_CACHE_KIB: Final = 256  # SQLite's default of 2,000 takes 60 MB for a full pool, and saves no time
ANSWER_MARGIN_S: Final = 2  # beyond the deadline of a statement, for a server that says nothing at all


@dataclass(frozen=True)
class Deadlines:
    """How long a transaction may wait, in seconds. `server.settings.stores` says what each is for."""

    connect_timeout_s: float = 5
    pool_timeout_s: float = 5
    lock_timeout_s: float = 5
    statement_timeout_s: float = 10
    idle_timeout_s: float = 60


DEADLINES: Final = Deadlines()


class BoundedConnection(psycopg.Connection[Any]):
    """A connection that ends when the server is silent for too long: no timeout of the server helps then."""

    answer_s: float | None = None

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for an answer.

        Raises:
            OperationalError: none came in time; the connection is closed.

        """
        limit_s = self.answer_s if timeout is None else timeout
        try:
            return super().wait(gen, interval, limit_s)
        except _WaitTimeout:
            self.pgconn.finish()
            raise psycopg.OperationalError(f"the server said nothing for {limit_s:g} s") from None


class Configured(Protocol):
    """What `server.settings.stores.DatabaseSettings` says of a database."""

    @property
    def url(self) -> str:
        """The address."""
        ...

    @property
    def deadlines(self) -> Mapping[str, float]:
        """The fields of `Deadlines`."""
        ...


def open_database(settings: Configured) -> Engine:
    """Open the engine for the database that the settings name, with their deadlines."""
    return open_engine(settings.url, Deadlines(**settings.deadlines))


def open_engine(database_url: str, deadlines: Deadlines = DEADLINES) -> Engine:
    """Open the engine for `postgresql://…` or `sqlite:///FILE`.

    An execution option `read_only` on a connection starts its transaction without the write lock.
    """
    url = make_url(database_url)
    if url.get_backend_name() == "postgresql":
        return _open_postgresql(url.set(drivername="postgresql+psycopg"), deadlines)
    engine = create_engine(
        url,
        pool_size=POOL_SIZE,
        pool_timeout=deadlines.pool_timeout_s,
        hide_parameters=True,  # parameters include prompts, and the text of an error is logged
        execution_options={"lock_s": deadlines.lock_timeout_s},
        connect_args={
            "timeout": deadlines.lock_timeout_s,
            "check_same_thread": False,
            "isolation_level": None,
        },
    )
    event.listen(engine, "connect", set_pragmas)
    event.listen(engine, "begin", _begin)
    return engine


def _open_postgresql(url: Any, deadlines: Deadlines) -> Engine:
    engine = create_engine(
        url,
        pool_size=POOL_SIZE,
        pool_timeout=deadlines.pool_timeout_s,
        pool_pre_ping=True,
        hide_parameters=True,
        connect_args={
            "connect_timeout": round(deadlines.connect_timeout_s),  # libpq takes whole seconds
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": round(1000 * (deadlines.statement_timeout_s + ANSWER_MARGIN_S)),
        },
    )
    names = {
        "lock_timeout": deadlines.lock_timeout_s,
        "statement_timeout": deadlines.statement_timeout_s,
        "idle_in_transaction_session_timeout": deadlines.idle_timeout_s,
    }
    limits = "; ".join(f"SET {name} = {round(1000 * limit_s)}" for name, limit_s in names.items())

    def connect(_dialect: object, _record: object, arguments: Any, parameters: Any) -> Any:
        return BoundedConnection.connect(*arguments, **parameters)

    def bound(connection: BoundedConnection, _record: object) -> None:
        connection.answer_s = deadlines.statement_timeout_s + ANSWER_MARGIN_S
        connection.autocommit = True
        connection.execute(limits)
        connection.autocommit = False

    event.listen(engine, "do_connect", connect)
    event.listen(engine, "connect", bound)
    event.listen(engine, "handle_error", _hide_detail)
    return engine


@contextmanager
def without_deadlines(connection: Connection) -> Iterator[None]:
    """Let a transaction take as long as it needs: a migration may copy a table, a backup reads all."""
    if connection.dialect.name == "sqlite":
        yield
        return
    driver: Any = connection.connection.driver_connection
    answer_s, driver.answer_s = driver.answer_s, None
    names = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
    connection.exec_driver_sql("; ".join(f"SET LOCAL {name} = 0" for name in names))
    try:
        yield
    finally:
        driver.answer_s = answer_s


def _hide_detail(context: ExceptionContext) -> None:
    """Remove PostgreSQL's DETAIL from an error's text: it quotes the failing row with its prompt."""
    original = context.original_exception
    primary = getattr(getattr(original, "diag", None), "message_primary", None)
    if primary is not None:
        original.args = (primary,)
        if context.sqlalchemy_exception is not None:
            context.sqlalchemy_exception.args = (f"({type(original).__name__}) {primary}",)


def set_pragmas(connection: Any, _record: object) -> None:
    """Make a connection to SQLite as strict and as durable as one to PostgreSQL."""
    # FULL: a commit survives a power cut, like PostgreSQL's. The cache is small because each connection has
    # one, which another's commit empties: the kernel caches the file for all.
    for pragma in (
        "journal_mode=WAL",
        "synchronous=FULL",
        "foreign_keys=ON",
        f"cache_size=-{SQLITE_CACHE_KIB}",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    # IMMEDIATE takes the write lock at once: a transaction that reads first can then never fail to upgrade.
    read_only = connection.get_execution_options().get("read_only", False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
