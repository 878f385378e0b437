"""What the tables of all nouns have in common. Knows no noun."""

import hashlib
import json
from collections.abc import Iterable
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any, Final, Protocol, Self, TypeVar, cast

import sqlalchemy as sa
from sqlalchemy import JSON, BigInteger, DateTime, Integer, MetaData, String, TypeDecorator
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.orm import DeclarativeBase, Session

_SERVER: Final = Path(__file__).parent.parent
_INSERT: Final[dict[str, Any]] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}

PRIVILEGES: Final = "privileges"
"""The key of a table's `info` with what the role that serves may do with its rows; without it, KEPT."""

KEPT: Final = ("SELECT", "INSERT", "UPDATE")
DELETABLE: Final[dict[str, Any]] = {"info": {PRIVILEGES: (*KEPT, "DELETE")}}
APPEND_ONLY: Final[dict[str, Any]] = {"info": {PRIVILEGES: ("SELECT", "INSERT")}}
READ_ONLY: Final[dict[str, Any]] = {"info": {PRIVILEGES: ("SELECT",)}}
"""The last items of `__table_args__`, of tables that need more than KEPT or less."""

# SQLite numbers rows only if the key is INTEGER. PostgreSQL's INTEGER has 32 bits: too few.
Serial = BigInteger().with_variant(Integer, "sqlite")


class UtcDateTime(TypeDecorator[datetime]):
    """A point in time in UTC: timestamptz on PostgreSQL, sortable text on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        """Refuse times without a zone and store the rest in UTC."""
        del dialect
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone cannot be stored")
        return value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Return the time in UTC."""
        del dialect
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Storable(Protocol):
    """A record that converts to a JSON object and back."""

    def to_json(self) -> dict[str, Any]:
        """Return the record as a JSON object."""
        ...

    @classmethod
    def from_json(cls, stored: Any) -> Self:
        """Return what `to_json` wrote."""
        ...


R = TypeVar("R", bound=Storable)


class Record(TypeDecorator[R]):
    """A column that holds a record as JSON and is read as that record."""

    impl = JSON
    cache_ok = True

    def __init__(self, kind: type[R]) -> None:
        super().__init__(none_as_null=True)
        self.kind = kind

    def process_bind_param(self, value: R | None, dialect: Dialect) -> Any:
        """Store the record's JSON."""
        del dialect
        return None if value is None else value.to_json()

    def process_result_value(self, value: Any, dialect: Dialect) -> R | None:
        """Return the record."""
        del dialect
        return None if value is None else self.kind.from_json(value)


class Table(DeclarativeBase):
    """The base of all tables."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "ck": "ck_%(table_name)s_%(constraint_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )

    type_annotation_map = {datetime: UtcDateTime, str: String(64), dict[str, Any]: JSON}  # noqa: RUF012  # read by SQLAlchemy as it is

    @classmethod
    def core(cls) -> sa.Table:
        """Return the table itself, for statements that are built once and bypass the ORM.

        Submissions use it: this halves the processor time of each.
        """
        return cast("sa.Table", cls.__table__)


def load_tables() -> MetaData:
    """Import the tables of every noun, so that each foreign key finds its target; return them all."""
    for file in sorted(_SERVER.glob("*/tables.py")):
        import_module(f"{_SERVER.name}.{file.parent.name}.tables")
    return Table.metadata


def upsert(session: Session, table: sa.Table) -> Any:
    """Begin an INSERT of this session's database, which has `on_conflict_do_update`."""
    return _INSERT[session.get_bind().dialect.name](table)


def one_of(session: Session, column: sa.ColumnElement[str], texts: Iterable[str]) -> sa.ColumnElement[bool]:
    """Select the rows whose column is one of the texts. They are one parameter, however many they are."""
    listed = list(texts)
    if session.get_bind().dialect.name == "postgresql":
        return column == sa.any_(sa.literal(listed, postgresql.ARRAY(String)))
    values = sa.func.json_each(json.dumps(listed)).table_valued("value")
    return column.in_(sa.select(values.c.value))


def try_lock(session: Session, name: str) -> bool:
    """Take the lock of a name until the transaction ends; return False if another transaction has it.

    On SQLite a transaction that may write is alone, and so has every lock.
    """
    if session.get_bind().dialect.name == "sqlite":
        return True
    number = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)
    return bool(session.scalar(sa.func.pg_try_advisory_xact_lock(number)))
