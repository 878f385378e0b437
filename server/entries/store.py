"""The catalogue in the database, and its seeding."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from catalog.entries import APP_ID, Entry
from server.db.tables import CatalogEntry, Generation

SEEDED_COLUMNS = ("name", "tier", "credit_cost", "quota_cost", "provider", "enabled", "beta")


class Entries:
    """Reads, seeds and counts entries inside the caller's transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def all(self) -> list[Entry]:
        """Return every entry, the disabled ones too.

        Raises:
            EntryMalformed: an operator's change cannot be used; the message names it.

        """
        rows = self._session.scalars(
            select(CatalogEntry).where(CatalogEntry.app_id == APP_ID).order_by(CatalogEntry.model_key)
        )
        return [Entry.from_row(_columns(row)) for row in rows]

    def count(self) -> int:
        """Return how many entries the catalogue has."""
        counted = select(func.count()).select_from(CatalogEntry).where(CatalogEntry.app_id == APP_ID)
        return self._session.scalar(counted) or 0

    def seed(self, shipped: Iterable[Entry]) -> int:
        """Write what is missing or outdated and return how many entries that were.

        A value that an operator changed differs from what seeding last wrote, and is left alone.
        """
        return sum(self._seed_one(entry) for entry in shipped)

    def count_use(self, model_key: str) -> None:
        """Count one delivered generation of an entry."""
        self._session.execute(
            update(CatalogEntry)
            .where(CatalogEntry.app_id == APP_ID, CatalogEntry.model_key == model_key)
            .values(total_usage=CatalogEntry.total_usage + 1, updated_at=CatalogEntry.updated_at)
        )

    def uses_by(self, user_id: str) -> dict[str, int]:
        """Return how many generations of each entry were delivered to a user."""
        rows = self._session.execute(
            select(Generation.entry_key, func.count().label("uses"))
            .where(Generation.user_id == user_id, Generation.status == "completed")
            .group_by(Generation.entry_key)
        )
        return {row.entry_key: row.uses for row in rows}

    def _seed_one(self, entry: Entry) -> bool:
        shipped = _shipped_values(entry)
        row = self._session.get(CatalogEntry, (APP_ID, entry.key))
        if row is None:
            columns = {name: shipped[name] for name in SEEDED_COLUMNS}
            self._session.add(
                CatalogEntry(
                    app_id=APP_ID,
                    model_key=entry.key,
                    capabilities=entry.capabilities(),
                    seeded=shipped,
                    **columns,
                )
            )
            return True
        if row.seeded == shipped:
            return False
        for name in SEEDED_COLUMNS:
            if getattr(row, name) == row.seeded.get(name):
                setattr(row, name, shipped[name])
        row.capabilities = _merged(row.capabilities, row.seeded["capabilities"], shipped["capabilities"])
        row.seeded = shipped
        return True


def _shipped_values(entry: Entry) -> dict[str, Any]:
    return {
        "name": entry.name,
        "tier": entry.tier.value,
        "credit_cost": entry.credit_cost,
        "quota_cost": entry.quota_cost,
        "provider": entry.provider,
        "enabled": entry.enabled,
        "beta": entry.beta,
        "capabilities": entry.capabilities(),
    }


def _merged(current: dict[str, Any], seeded: dict[str, Any], shipped: dict[str, Any]) -> dict[str, Any]:
    """Take the shipped value of every capability that still is as it was seeded."""
    kept = {name: value for name, value in current.items() if name not in seeded or seeded[name] != value}
    return shipped | kept


def _columns(row: CatalogEntry) -> dict[str, Any]:
    return {column.name: getattr(row, column.name) for column in CatalogEntry.__table__.columns}
