"""The database for a command; what goes wrong with it is told in words."""

from collections.abc import Iterator
from contextlib import contextmanager

import click
from sqlalchemy.exc import DBAPIError

from server.auth.users import UserExists, UserUnknown
from server.db.engine import open_engine
from server.db.migrate import is_current
from server.db.unit_of_work import UnitOfWork
from server.errors import DatabaseAway
from server.settings import Settings


@contextmanager
def opened(settings: Settings) -> Iterator[UnitOfWork]:
    """Open the migrated database for a command; what goes wrong in the body is told in words."""
    if settings.database_url.startswith("sqlite"):
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    engine = open_engine(settings.database_url)
    try:
        with answering():
            if not is_current(engine):
                raise click.ClickException("The database is not migrated. Run 'avatar-creator migrate' first")
            yield UnitOfWork(engine)
    except (UserExists, UserUnknown) as error:
        raise click.ClickException(str(error)) from error
    finally:
        engine.dispose()


@contextmanager
def answering() -> Iterator[None]:
    """Tell in words if the database does not answer in the body."""
    try:
        yield
    except (DatabaseAway, DBAPIError) as error:
        raise click.ClickException(f"The database does not answer ({_cause(error)})") from error


def _cause(error: BaseException) -> str:
    return type(error.__cause__ or error).__name__
