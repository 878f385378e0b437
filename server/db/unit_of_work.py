"""The one unit of work: nothing else in the program commits."""

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Final

from sqlalchemy import Engine
from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from sqlalchemy.orm import Session

from server.db.base import load_tables
from server.db.engine import DEADLINES, without_deadlines
from server.errors import DatabaseAway, OutcomeUnknown

OLDER: Final = ("42P01", "42703", "42501")
"""PostgreSQL lacks a table, a column or a grant: it was never migrated, or not to this revision."""
READS_ONLY: Final = "25006"
"""PostgreSQL takes no writes, as a standby does after a failover."""
BLOCKED_S: Final = 1.0
"""After a writer has waited so long for another process, further ones do not line up behind it."""


class Transaction:
    """An open transaction. Repositories are made from it: `Ledger(tx).hold(…)`."""

    def __init__(self, session: Session) -> None:
        self.session = session


class Repository:
    """The queries of one noun, run within the transaction that it is made from."""

    def __init__(self, tx: Transaction) -> None:
        self._session = tx.session


class UnitOfWork:
    """Opens transactions on the database; commits what went well and rolls back the rest."""

    def __init__(self, engine: Engine) -> None:
        load_tables()
        self.engine = engine
        self._reading = engine.execution_options(read_only=True)
        on_sqlite = engine.dialect.name == "sqlite"  # where each transaction sees one state
        self._steady = (
            self._reading if on_sqlite else engine.execution_options(isolation_level="REPEATABLE READ")
        )
        self._writers = _Writers(engine) if on_sqlite else None

    @contextmanager
    def begin(self) -> Iterator[Transaction]:
        """Open a transaction that may write; commit it at the end, or roll back if anything is raised.

        Raises:
            DatabaseAway: the database does not answer; nothing was changed.
            OutcomeUnknown: it did not answer to the commit; everything or nothing was changed.

        """
        with _translated(), self._turn() as turn, _session(self.engine) as session:
            session.connection()  # on SQLite, this waits for other processes that write
            turn.begun()
            try:
                yield Transaction(session)
                session.flush()
            except BaseException:
                session.rollback()
                raise
            _commit(session)

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """Open a transaction that only reads; what it returns stays usable afterwards.

        Raises:
            DatabaseAway: the database does not answer.

        """
        with _translated(), _session(self._reading) as session:
            yield Transaction(session)

    @contextmanager
    def snapshot(self) -> Iterator[Transaction]:
        """Open a transaction that sees the database as it is at the first query, and may read for hours.

        Raises:
            DatabaseAway: the database does not answer.

        """
        with _translated(), _session(self._steady) as session, without_deadlines(session.connection()):
            yield Transaction(session)

    def _turn(self) -> "AbstractContextManager[_Turn]":
        return nullcontext(_Turn()) if self._writers is None else self._writers.turn()

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()


def _session(engine: Engine) -> Session:
    return Session(engine, expire_on_commit=False)


class _Turn:
    """The turn of one transaction that writes."""

    def begun(self) -> None:
        """Say that the transaction has the write lock."""


class _Writers(_Turn):
    """Lines up the writing threads of this process. SQLite has one writer, and waits unfairly, by polling."""

    def __init__(self, engine: Engine) -> None:
        self._lock = threading.Lock()
        self._limit_s: float = engine.get_execution_options().get("lock_s", DEADLINES.lock_timeout_s)
        self._blocked_since: float | None = None

    @contextmanager
    def turn(self) -> Iterator[_Turn]:
        """Wait for the other threads.

        Raises:
            DatabaseAway: the wait is too long, or in vain.

        """
        since = self._blocked_since
        blocked = since is not None and time.monotonic() - since > BLOCKED_S
        if blocked or not self._lock.acquire(timeout=self._limit_s):
            raise DatabaseAway
        try:
            self._blocked_since = time.monotonic()
            yield self
        finally:
            self._blocked_since = None
            self._lock.release()

    def begun(self) -> None:
        """Say that the transaction has the write lock, and so waits for nobody."""
        self._blocked_since = None


def _commit(session: Session) -> None:
    try:
        session.commit()
    except DBAPIError as error:
        # With a connection the server's answer was lost; without one, it was an error, and nothing happened.
        if error.connection_invalidated:
            raise OutcomeUnknown from error
        raise


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError, NoConnectionFree) as error:
        raise DatabaseAway from error
    except (ProgrammingError, InternalError) as error:
        if getattr(error.orig, "sqlstate", None) in {*OLDER, READS_ONLY}:
            raise DatabaseAway from error
        raise
