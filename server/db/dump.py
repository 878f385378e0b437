"""Writes all rows of a database to files and reads them back, into a database of either kind. Knows no noun.

A file is a table: a line of JSON with the columns' names, then one for each row, compressed by gzip.
"""

import base64
import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, Final

from sqlalchemy import JSON, Column, Connection, MetaData, Table, delete, func, insert, literal, select, text
from sqlalchemy.exc import DataError, IntegrityError

from server.db.engine import without_deadlines

VERSIONS: Final = "alembic_version"
"""The table of the schema's revision: migrations write it."""
ENDING: Final = ".jsonl.gz"
BATCH: Final = 1000
_LEVEL: Final = 6  # gzip's own default: 9 takes three times as long for 2 % less

_TO_JSON: Final[dict[type, Callable[[Any], Any]]] = {
    datetime: lambda moment: _in_utc(moment).isoformat(),
    date: lambda day: day.isoformat(),
    bytes: lambda content: base64.b64encode(content).decode(),
    Decimal: str,
}
_FROM_JSON: Final[dict[type, Callable[[Any], Any]]] = {
    datetime: lambda moment: _in_utc(datetime.fromisoformat(moment)),
    date: date.fromisoformat,
    bytes: base64.b64decode,
    Decimal: Decimal,
}


@dataclass
class RowMisfit(Exception):
    """A row of a file does not fit the database. cause: in the words of the database's driver."""

    table: str
    cause: str

    def __str__(self) -> str:
        return f"A row of {self.table} does not fit this database: {self.cause}. No row was restored"


def dump(connection: Connection, folder: Path) -> dict[str, int]:
    """Write each table to a file in a folder; return how many rows each has."""
    tables = _tables(connection)
    return {table.name: _write(connection, table, folder / f"{table.name}{ENDING}") for table in tables}


def load(connection: Connection, folder: Path) -> dict[str, int]:
    """Replace all rows of the tables with those in a folder's files; return how many each has.

    The rows are written as they were, so triggers are off meanwhile. Keys and checks hold. The schema is the
    one that was dumped.

    Raises:
        FileNotFoundError: a table has no file.
        RowMisfit: a row does not fit.

    """
    tables = _tables(connection)
    with without_deadlines(connection), _without_triggers(connection, tables):
        for table in reversed(tables):
            connection.execute(delete(table))
        counts = {table.name: _read(connection, table, folder / f"{table.name}{ENDING}") for table in tables}
        for table in tables:
            _continue_numbering(connection, table)
    return counts


def _tables(connection: Connection) -> list[Table]:
    """Return the tables as the database has them, each after those that it refers to."""
    metadata = MetaData()
    metadata.reflect(connection)
    for table in metadata.tables.values():
        for column in table.columns:
            if isinstance(column.type, JSON):
                column.type.none_as_null = True  # no column holds JSON's own null
    return [table for table in metadata.sorted_tables if table.name != VERSIONS]


def _write(connection: Connection, table: Table, path: Path) -> int:
    # By key: of rows that refer to others of their own table, these come first.
    query = select(table).order_by(*table.primary_key.columns)
    encoders = [_TO_JSON.get(column.type.python_type) for column in table.columns]
    count = 0
    with gzip.open(path, "wt", compresslevel=_LEVEL, encoding="utf-8") as file:
        file.write(json.dumps(table.columns.keys()) + "\n")
        for row in connection.execute(query, execution_options={"yield_per": BATCH}):
            file.write(json.dumps(_converted(row, encoders), ensure_ascii=False) + "\n")
            count += 1
    return count


def _read(connection: Connection, table: Table, path: Path) -> int:
    count = 0
    with gzip.open(path, "rt", encoding="utf-8") as file:
        names = json.loads(next(file))
        columns: list[Column[Any]] = [table.columns[name] for name in names]
        decoders = [_FROM_JSON.get(column.type.python_type) for column in columns]
        while lines := list(islice(file, BATCH)):
            rows = [dict(zip(names, _converted(json.loads(line), decoders), strict=True)) for line in lines]
            try:
                connection.execute(insert(table), rows)
            except (DataError, IntegrityError) as error:
                cause = str(error.orig).splitlines()[0]  # what follows may quote the row
                raise RowMisfit(table.name, cause) from None
            count += len(rows)
    return count


def _converted(row: Any, converters: list[Callable[[Any], Any] | None]) -> list[Any]:
    return [
        value if convert is None or value is None else convert(value)
        for value, convert in zip(row, converters, strict=True)
    ]


def _in_utc(moment: datetime) -> datetime:
    # SQLite keeps times without a zone: they are in UTC.
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


@contextmanager
def _without_triggers(connection: Connection, tables: list[Table]) -> Iterator[None]:
    """Turn the triggers off while the body runs. If it fails, the transaction brings them back."""
    if connection.dialect.name == "sqlite":
        query = text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")
        triggers = [tuple(row) for row in connection.execute(query)]
        off = [f'DROP TRIGGER "{name}"' for name, _ in triggers]
        on = [definition for _, definition in triggers]
    else:
        off = [f'ALTER TABLE "{table.name}" DISABLE TRIGGER USER' for table in tables]
        on = [f'ALTER TABLE "{table.name}" ENABLE TRIGGER USER' for table in tables]
    for statement in off:
        connection.exec_driver_sql(statement)
    yield
    for statement in on:
        connection.exec_driver_sql(statement)


def _continue_numbering(connection: Connection, table: Table) -> None:
    """Let PostgreSQL number new rows beyond those that were loaded. SQLite looks at the rows."""
    numbered = table.autoincrement_column
    if connection.dialect.name == "sqlite" or numbered is None:
        return
    sequence = func.pg_get_serial_sequence(table.name, numbered.name)
    last = select(func.coalesce(func.max(numbered), 0) + 1).scalar_subquery()
    connection.execute(select(func.setval(sequence, last, literal(value=False))))
