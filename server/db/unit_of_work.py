"""The one unit of work: nothing else in the program commits."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Final

from sqlalchemy import Engine
from sqlalchemy.exc import InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.orm import Session

from server.db.base import load_tables
from server.errors import DatabaseAway

UNDEFINED_TABLE: Final = "42P01"  # a PostgreSQL that was never migrated; SQLite calls this operational


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
        # SQLite has one writer, and its own waiting polls and is unfair: threads of one process wait here.
        self._one_writer = threading.Lock() if engine.dialect.name == "sqlite" else nullcontext()

    @contextmanager
    def begin(self) -> Iterator[Transaction]:
        """Open a transaction that may write; commit it at the end, or roll back if anything is raised.

        Raises:
            DatabaseAway: the database does not answer; nothing was changed.

        """
        with _translated(), self._one_writer, _session(self.engine) as session, session.begin():
            yield Transaction(session)

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """Open a transaction that only reads; what it returns stays usable afterwards.

        Raises:
            DatabaseAway: the database does not answer.

        """
        with _translated(), _session(self._reading) as session:
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
    except (OperationalError, InterfaceError) as error:
        raise DatabaseAway from error
    except ProgrammingError as error:
        if getattr(error.orig, "sqlstate", None) == UNDEFINED_TABLE:
            raise DatabaseAway from error
        raise
