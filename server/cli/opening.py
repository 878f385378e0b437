"""The migrated database for a command."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import click
from sqlalchemy import make_url

from server.db.engine import open_database
from server.db.migrate import missing_revision
from server.db.unit_of_work import UnitOfWork
from server.settings import Settings
from server.supervisor.data_folder import private_files


def is_absent(settings: Settings) -> bool:
    """Return whether the database is a file of SQLite that is not there yet: to open it would make it."""
    url = make_url(settings.database.url)
    if url.get_backend_name() != "sqlite":
        return False
    return not (url.database and Path(url.database).exists())


@contextmanager
def opened(settings: Settings) -> Iterator[UnitOfWork]:
    """Open the migrated database for a command.

    Raises:
        click.ClickException: the database is not migrated.

    """
    is_file = settings.database.url.startswith("sqlite")
    engine = open_database(settings.database)
    try:
        with private_files(settings) if is_file else nullcontext():
            with engine.connect() as connection:
                lacking = missing_revision(connection)
            if lacking is not None:
                words = f"The database lacks revision {lacking}. Run 'avatar-creator migrate' first"
                raise click.ClickException(words)
            yield UnitOfWork(engine)
    finally:
        engine.dispose()
