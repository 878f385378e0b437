"""The database for a command, its errors in words."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import click
from sqlalchemy.exc import DBAPIError

from server.db.engine import open_database
from server.db.migrate import is_current
from server.db.unit_of_work import UnitOfWork
from server.errors import DatabaseAway, DomainError
from server.settings import Settings
from server.supervisor.data_folder import private_files


@contextmanager
def opened(settings: Settings) -> Iterator[UnitOfWork]:
    """Open the migrated database for a command.

    Raises:
        click.ClickException: the database does not answer or is not migrated, or the body raised an error
            of the domain: its words.

    """
    is_file = settings.database.url.startswith("sqlite")
    engine = open_database(settings.database)
    try:
        with private_files(settings) if is_file else nullcontext(), answering():
            if not is_current(engine):
                raise click.ClickException("The database is not migrated. Run 'avatar-creator migrate' first")
            yield UnitOfWork(engine)
    except DomainError as error:
        raise click.ClickException(str(error)) from error
    finally:
        engine.dispose()


@contextmanager
def answering() -> Iterator[None]:
    """Turn a database that does not answer in the body into a ClickException."""
    try:
        yield
    except (DatabaseAway, DBAPIError) as error:
        raise click.ClickException(f"The database does not answer ({_cause(error)})") from error


def _cause(error: BaseException) -> str:
    return type(error.__cause__ or error).__name__
