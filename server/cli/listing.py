"""How commands print records: columns for people, one line of JSON for programs."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Final

import click
from rich.console import Console
from rich.table import Column, Table

from server.clock import wire

PIPED_COLUMNS: Final = 240  # wide enough that nothing is folded when a program reads the output

UNPRINTABLE: Final = "\N{REPLACEMENT CHARACTER}"

Record = Mapping[str, str | int | float | bool | datetime | Sequence[str] | None]
"""What a command knows of one row, by its names in JSON."""


def show_list(records: Sequence[Record], *, as_json: bool) -> None:
    """Print records: a line each under headings, or all in one line of JSON."""
    if as_json:
        click.echo(json.dumps([_in_json(record) for record in records]))
        return
    if not records:
        click.echo("None.")
        return
    table = Table(*[Column(_heading(name), overflow="fold") for name in records[0]], box=None, pad_edge=False)
    for record in records:
        table.add_row(*map(_in_words, record.values()))
    _print(table)


def show_record(record: Record, *, as_json: bool) -> None:
    """Print one record: a line a field, or all in one line of JSON."""
    if as_json:
        click.echo(json.dumps(_in_json(record)))
        return
    table = Table(Column(style="bold", no_wrap=True), Column(overflow="fold"), box=None, show_header=False)
    for name, value in record.items():
        table.add_row(_heading(name), _in_words(value))
    _print(table)


def _print(table: Table) -> None:
    console = Console(markup=False, highlight=False)  # "FLUX.1 [dev]" is a licence, not markup
    if not console.is_terminal:
        console.width = PIPED_COLUMNS
    console.print(table)


def _heading(name: str) -> str:
    return re.sub("([A-Z])", r" \1", name).lower()


def _in_words(value: object) -> str:
    match value:
        case None:
            return "-"
        case bool():
            return "yes" if value else "no"
        case datetime():
            return f"{value:%Y-%m-%d %H:%M}"
        case str():
            # A project's name is its user's, and a terminal obeys what cannot be printed.
            return "".join(letter if letter.isprintable() else UNPRINTABLE for letter in value)
        case Iterable():
            return ", ".join(map(str, value))
        case _:
            return str(value)


def _in_json(record: Record) -> dict[str, object]:
    return {name: wire(value) if isinstance(value, datetime) else value for name, value in record.items()}
