"""What the commands share: the data folder, the settings and the database."""

import functools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
from sqlalchemy.exc import DBAPIError

from catalog.entries import EntryMalformed
from server.auth.users import UserExists, UserUnknown
from server.db.engine import open_engine
from server.db.migrate import is_current
from server.db.unit_of_work import UnitOfWork
from server.errors import DatabaseAway
from server.settings import SettingInvalid, Settings
from server.telemetry import configure_logs

Command = TypeVar("Command", bound=Callable[..., Any])


def takes_settings(command: Command) -> Command:
    """Give a command the option --data-dir and, as its first argument, the settings."""

    @click.option(
        "--data-dir",
        type=click.Path(file_okay=False, path_type=Path),
        help="Where the database, images and weights are kept. [env: DATA_DIR]",
    )
    @functools.wraps(command)
    def with_settings(*args: Any, data_dir: Path | None, **options: Any) -> Any:
        configure_logs("cli")  # on standard error: standard output is for the answer
        try:
            settings = Settings.from_environment(data_dir)
        except SettingInvalid as error:
            raise click.ClickException(str(error)) from error
        return command(settings, *args, **options)

    return with_settings  # type: ignore[return-value]  # the decorated function takes other arguments


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
    except (UserExists, UserUnknown, EntryMalformed) as error:
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
