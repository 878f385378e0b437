"""Migrates a database to the revision that this program expects."""

import functools
from pathlib import Path
from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import OperationalError

from server.db.engine import without_deadlines
from server.db.roles import grant

MIGRATIONS: Final = Path(__file__).parent / "migrations"
# An arbitrary number that all processes of this program agree on; PostgreSQL's advisory locks have no names.
MIGRATION_LOCK: Final = 7_201_845_531
DEADLOCK: Final = "40P01"  # Source: PostgreSQL, appendix A
TRIES: Final = 5
"""Who works beside a migration may lock the same tables in another order. One of both then begins again."""


def migrate(engine: Engine, revision: str = "head", server_role: str | None = None) -> None:
    """Upgrade the database to a revision. A lock makes concurrent processes do so one after the other.

    server_role: a role of PostgreSQL that may then do what serving needs. Nobody sees a table without that.

    Raises:
        NotPostgresql: a role is named, and the database is SQLite.
        RoleUnknown: there is no such role.

    """
    for tries_left in reversed(range(TRIES)):
        try:
            with engine.begin() as connection, without_deadlines(connection):
                _take_turns(connection)
                command.upgrade(_config(connection), revision)
                if server_role is not None:
                    grant(connection, server_role)
        except OperationalError as error:
            if getattr(error.orig, "sqlstate", None) != DEADLOCK or not tries_left:
                raise
        else:
            return


def unmigrate(engine: Engine, revision: str = "base") -> None:
    """Downgrade the database to a revision. What later revisions added is lost, with its data."""
    with engine.begin() as connection, without_deadlines(connection):
        _take_turns(connection)
        command.downgrade(_config(connection), revision)


def newest_revision() -> str:
    """Return the revision that this program expects."""
    return str(_script().get_current_head())


def is_known(revision: str) -> bool:
    """Return whether this program can migrate a database to a revision."""
    return any(known.revision == revision for known in _script().walk_revisions())


def missing_revision(connection: Connection) -> str | None:
    """Return the revision that the database lacks; None if it has this program's, or one that is newer."""
    there = MigrationContext.configure(connection).get_current_revision()
    head = newest_revision()
    older: set[str | None] = {None, *(revision.revision for revision in _script().walk_revisions())} - {head}
    return head if there in older else None


@functools.cache
def _script() -> ScriptDirectory:
    return ScriptDirectory(str(MIGRATIONS))  # reads every file once, and then knows them all


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    return config


def _take_turns(connection: Connection) -> None:
    # SQLite's transaction has the only write lock already.
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": MIGRATION_LOCK})
