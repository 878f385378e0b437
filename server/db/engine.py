"""The engine for either database, and how SQLite is made as strict as PostgreSQL."""

from typing import Any, Final

from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event, make_url

BUSY_TIMEOUT_S: Final = 15  # commits of other processes take a few milliseconds each
CONNECT_TIMEOUT_S: Final = 5
POOL_SIZE: Final = 20  # the API has at most 32 threads, of which few hold a connection at a time


def open_engine(database_url: str) -> Engine:
    """Open the engine for `postgresql://…` or `sqlite:///FILE`.

    An execution option `read_only` on a connection starts its transaction without the write lock.
    """
    url = make_url(database_url)
    if url.get_backend_name() == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
        engine = create_engine(
            url,
            pool_size=POOL_SIZE,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={"connect_timeout": CONNECT_TIMEOUT_S},
        )
        event.listen(engine, "handle_error", _hide_detail)
        return engine
    engine = create_engine(
        url,
        pool_size=POOL_SIZE,
        hide_parameters=True,  # parameters include prompts, and the text of an error is logged
        connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False, "isolation_level": None},
    )
    event.listen(engine, "connect", _set_pragmas)
    event.listen(engine, "begin", _begin)
    return engine


def _hide_detail(context: ExceptionContext) -> None:
    """Remove PostgreSQL's DETAIL from an error's text: it quotes the failing row with its prompt."""
    original = context.original_exception
    primary = getattr(getattr(original, "diag", None), "message_primary", None)
    if primary is not None:
        original.args = (primary,)
        if context.sqlalchemy_exception is not None:
            context.sqlalchemy_exception.args = (f"({type(original).__name__}) {primary}",)


def _set_pragmas(connection: Any, _record: object) -> None:
    # FULL: a commit survives a power cut, like PostgreSQL's.
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    # IMMEDIATE takes the write lock at once: a transaction that reads first can then never fail to upgrade.
    read_only = connection.get_execution_options().get("read_only", False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")
