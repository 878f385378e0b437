"""What all commands share: the option --data-dir, the settings, the logs."""

import functools
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from server.logs import configure_logs
from server.settings import SettingInvalid, Settings

Command = TypeVar("Command", bound=Callable[..., Any])

DRAWING_LIBRARIES: Final = ("torch", "diffusers", "transformers", "peft")


def lacking_libraries() -> str:
    """Name what is not installed of the libraries that draw on this machine; empty if all are."""
    return ", ".join(name for name in DRAWING_LIBRARIES if find_spec(name) is None)


def takes_settings(command: Command) -> Command:
    """Give a command the option --data-dir and, as its first argument, the settings."""

    @click.option(
        "--data-dir",
        type=click.Path(file_okay=False, path_type=Path),
        help="Where the database, images and weights are kept. [env: DATA_DIR]",
    )
    @functools.wraps(command)
    def with_settings(*args: Any, data_dir: Path | None, **options: Any) -> Any:
        try:
            settings = Settings.from_environment(data_dir)
        except SettingInvalid as error:
            raise click.ClickException(str(error)) from error
        configure_logs(
            "cli", settings.server.log_level
        )  # on standard error: standard output is for the answer
        return command(settings, *args, **options)

    return with_settings  # type: ignore[return-value]  # the decorated function takes other arguments
