"""An operator at a shell of SQL, without this program's settings, and users with and without credits."""

from contextlib import contextmanager

import pytest
from sqlalchemy import create_engine, make_url, text
from sqlalchemy.exc import IntegrityError

from catalog.tiers import Tier
from server.accounts.repository import Users
from server.credits.repository import Ledger
from tests.databases import OWNER, as_role

MOMENT = "2026-01-02 03:04:05.000000+00:00"


class Operator:
    """Somebody who runs statements by hand. On SQLite neither foreign keys nor recursive triggers are on."""

    def __init__(self, engine):
        self._engine = engine

    def run(self, statement, **values):
        """Run a statement in a transaction of its own."""
        with self._engine.begin() as connection:
            connection.execute(text(statement), values)

    def read(self, query):
        """Return the rows of a query."""
        with self._engine.connect() as connection:
            return [tuple(row) for row in connection.execute(text(query))]

    def ledger(self):
        """Return all rows of the ledger."""
        tables = ("ledger_transfers", "ledger_postings")
        return [self.read(f"SELECT * FROM {table} ORDER BY id") for table in tables]  # noqa: S608

    def insert_transfer(self, verb="INSERT", **columns):
        """Insert a transfer into the ledger, by default a grant of one credit."""
        row = {
            "kind": "grant",
            "credits": 1,
            "balance": 0,
            "reference_type": "grant",
            "reference_id": "by-hand",
            "description": "By hand",
        } | columns
        self._insert(verb, "ledger_transfers", row | {"created_at": MOMENT})

    def insert_posting(self, verb="INSERT", **columns):
        """Insert a posting into the ledger."""
        self._insert(verb, "ledger_postings", columns)

    def _insert(self, verb, table, row):
        names, kept = ", ".join(row), ", ".join(f":{name}" for name in row)
        self.run(f"{verb} INTO {table} ({names}) VALUES ({kept})", **row)


@pytest.fixture
def operator(database_url):
    """An operator at a shell of SQL, as the owner of the schema."""
    url = make_url(as_role(database_url, OWNER))
    if url.get_backend_name() == "postgresql":
        url = url.set(drivername="postgresql+psycopg")
    engine = create_engine(url)
    yield Operator(engine)
    engine.dispose()


@pytest.fixture
def refused(operator):
    """Check that the database refuses a statement, in words, and that the ledger is as it was."""

    @contextmanager
    def refusing(words, error=IntegrityError):
        before = operator.ledger()
        with pytest.raises(error, match=words):
            yield
        assert operator.ledger() == before

    return refusing


@pytest.fixture
def user(uow, make_account):
    """A user with 30 credits, of which generation-1 holds 8."""
    user_id = make_account(credits=30).user_id
    with uow.begin() as tx:
        Ledger(tx).hold(user_id, 8, "generation-1", "Avatar generation")
    return user_id


@pytest.fixture
def make_user(uow):
    """Make users who have no account yet."""

    def make():
        with uow.begin() as tx:
            return Users(tx).add(None, Tier.FREE).id

    return make
