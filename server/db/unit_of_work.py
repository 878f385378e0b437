"""The one unit of work: nothing else in the program commits."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import cached_property
from typing import Final

from sqlalchemy import Engine
from sqlalchemy.exc import InterfaceError, OperationalError, ProgrammingError
from sqlalchemy.orm import Session

from server.auth.users import Users
from server.avatars.store import Avatars
from server.credits.ledger import Ledger
from server.entries.store import Entries
from server.errors import DatabaseAway
from server.events.log import Events
from server.failover.store import Workers
from server.generations.store import Generations
from server.metrics.tallies import Tallies
from server.projects.store import Projects
from server.spending.store import Spending

UNDEFINED_TABLE: Final = "42P01"  # a PostgreSQL that was never migrated; SQLite calls this operational


class Transaction:
    """What can be read and changed within one transaction, by noun."""

    def __init__(self, session: Session) -> None:
        self.session = session

    @cached_property
    def users(self) -> Users:
        """Users and their API keys."""
        return Users(self.session)

    @cached_property
    def ledger(self) -> Ledger:
        """Credits."""
        return Ledger(self.session)

    @cached_property
    def entries(self) -> Entries:
        """The catalogue."""
        return Entries(self.session)

    @cached_property
    def projects(self) -> Projects:
        """Projects."""
        return Projects(self.session)

    @cached_property
    def generations(self) -> Generations:
        """Generations, their leases and the queue that they form."""
        return Generations(self.session)

    @cached_property
    def avatars(self) -> Avatars:
        """Avatars."""
        return Avatars(self.session)

    @cached_property
    def events(self) -> Events:
        """What happened."""
        return Events(self.session)

    @cached_property
    def spending(self) -> Spending:
        """What hosted providers cost."""
        return Spending(self.session)

    @cached_property
    def workers(self) -> Workers:
        """Who can draw."""
        return Workers(self.session)

    @cached_property
    def tallies(self) -> Tallies:
        """What the metrics count."""
        return Tallies(self.session)


class UnitOfWork:
    """Opens transactions on the database; commits what went well and rolls back the rest."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._reading = engine.execution_options(read_only=True)
        # SQLite has one writer. Its own waiting polls and is unfair; threads of one process queue up here.
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
