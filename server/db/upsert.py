"""Writing a row that may be there already, in the words of both databases."""

from typing import Any, Final

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

_INSERT: Final[dict[str, Any]] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}


def upsert(session: Session, table: Table) -> Any:
    """Begin an INSERT of this session's database, which has `on_conflict_do_update`."""
    return _INSERT[session.get_bind().dialect.name](table)
