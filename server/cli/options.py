"""What the commands share: the option --data-dir, the settings, the logs, and the types of arguments."""

import functools
import math
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final, TypeVar

import click

from catalog.prompts import MAX_CHARS, MIN_CHARS, fold
from server.accounts.identity import MAX_EMAIL_CHARS
from server.logs import configure_logs
from server.settings import Settings
from server.settings.kinds import WHOLE

Command = TypeVar("Command", bound=Callable[..., Any])

DRAWING_LIBRARIES: Final = ("torch", "diffusers", "transformers", "peft")


class Text(click.ParamType[str]):
    """Text of 1 to `max_chars` characters that can be printed: others fit in no column."""

    name = "text"

    def __init__(self, max_chars: int) -> None:
        self.max_chars = max_chars

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the text, or refuse it."""
        if not 1 <= len(value) <= self.max_chars or not value.isprintable():
            self.fail(f"must have 1 to {self.max_chars} printable characters", param, ctx)
        return str(value)


class Address(Text):
    """The address of a website, with http:// or https://."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Return the address, or refuse it."""
        text = super().convert(value, param, ctx)
        scheme, separator, rest = text.partition("://")
        if scheme not in ("http", "https") or not separator or not rest.strip("/") or " " in rest:
            self.fail("must be an address with http:// or https://", param, ctx)
        return text


class Number(click.FloatRange):
    """A number within finite bounds. Neither `nan` nor `inf` is one."""

    def __init__(self, least: float, most: float, *, min_open: bool = False) -> None:
        super().__init__(least, most, min_open=min_open)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number, or refuse it."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):  # which no comparison refuses
            self.fail(f"{value!r} is no number", param, ctx)
        return number


class Place(click.Path):
    """A path that can be made: what it is to be in is a folder, and not a file.

    An empty one is refused: it comes from a variable that is unset, and names no folder.
    """

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path, or refuse it."""
        text = str(value)
        if not text or not text.isprintable():
            self.fail("must be a path of printable characters", param, ctx)
        path = Path(text).expanduser().absolute()
        # A folder is made with its parents, a file only where its folder is.
        parents = path.parents if self.dir_okay else (path.parent,)
        nearest = next((parent for parent in parents if parent.exists()), parents[0])
        if not nearest.is_dir():
            self.fail(f"{nearest} is no folder", param, ctx)
        return super().convert(value, param, ctx)


FOLDER: Final = Place(file_okay=False, path_type=Path)
FILE: Final = Place(dir_okay=False, path_type=Path)
WHO: Final = Text(MAX_EMAIL_CHARS)
"""A user's id or email."""
ROLE: Final = Text(63)  # Source: PostgreSQL, NAMEDATALEN
COUNT: Final = click.IntRange(1, WHOLE)
NATURAL: Final = click.IntRange(0, WHOLE)

json_option = click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
limit_option = click.option(
    "--limit", type=click.IntRange(1, 1000), default=20, show_default=True, help="How many at most."
)


def lacking_libraries() -> str:
    """Name what is not installed of the libraries that draw on this machine; empty if all are."""
    return ", ".join(name for name in DRAWING_LIBRARIES if find_spec(name) is None)


def takes_settings(command: Command) -> Command:
    """Give a command the option --data-dir and, as its first argument, the settings."""

    @click.option(
        "--data-dir",
        type=FOLDER,
        help="Where the database, images and weights are kept. [env: DATA_DIR]",
    )
    @functools.wraps(command)
    def with_settings(*args: Any, data_dir: Path | None, **options: Any) -> Any:
        settings = Settings.from_environment(data_dir)
        # On standard error: standard output is for the answer.
        configure_logs("cli", settings.server.log_level)
        return command(settings, *args, **options)

    return with_settings  # type: ignore[return-value]  # the decorated function takes other arguments


def check_prompt(_context: click.Context, _parameter: click.Parameter, prompt: str) -> str:
    """Check a prompt as the API does.

    Raises:
        click.BadParameter: it is too short, too long, or no text.

    """
    folded = fold(prompt)
    try:
        folded.encode()
    except UnicodeEncodeError as error:
        raise click.BadParameter("it is not text in UTF-8") from error
    if not MIN_CHARS <= len(folded) <= MAX_CHARS:
        raise click.BadParameter(f"a prompt has {MIN_CHARS} to {MAX_CHARS} characters")
    return folded
