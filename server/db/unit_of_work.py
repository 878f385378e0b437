"""The one unit of work: nothing else in the program commits."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from sqlalchemy import Engine
from sqlalchemy.exc import (
    InterfaceError,
    InternalError,
    OperationalError,
    ProgrammingError,
)
from sqlalchemy.exc import TimeoutError as NoConnectionFree
from sqlalchemy.orm import Session

from server.db.base import load_tables
from server.db.engine import without_deadlines
from server.db.writers import Writers, whole
from server.errors import DatabaseAway

OLDER: Final = ("42P01", "42703", "42501")
"""PostgreSQL lacks a table, a column or a grant: it was never migrated, or not to this revision."""
READS_ONLY: Final = "25006"
"""PostgreSQL takes no writes, as a standby does after a failover."""


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
        self._writers = Writers(engine) if on_sqlite else None

    @contextmanager
    def begin(self, *, joint: bool = False) -> Iterator[Transaction]:
        """Open a transaction that may write; commit it at the end, or roll back if anything is raised.

        joint: on SQLite, whoever waits for the write lock meanwhile may write into the same transaction, and
        all of them wait for its one commit. For what is short, and what many do at once.

        Raises:
            DatabaseAway: the database does not answer; nothing was changed.
            OutcomeUnknown: it did not answer to the commit; everything or nothing was changed.

        """
        opened = whole(self.engine) if self._writers is None else self._writers.begin(joint=joint)
        with _translated(), opened as session:
            yield Transaction(session)

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

    def close(self) -> None:
        """Close the connections."""
        self.engine.dispose()


def _session(engine: Engine) -> Session:
    return Session(engine, expire_on_commit=False)


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
