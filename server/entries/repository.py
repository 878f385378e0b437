"""The catalogue in the database, and its seeding."""

import functools
import json
from collections.abc import Iterable
from typing import Any, Final

from sqlalchemy import Integer, Text, cast, select, type_coerce, update

from catalog.entries import APP_ID, Entry, EntryMalformed
from server.db.unit_of_work import Repository
from server.entries.errors import EntryUnknown
from server.entries.tables import CatalogEntry
from server.logs import get_log

log = get_log(__name__)

SEEDED_COLUMNS = ("name", "tier", "credit_cost", "quota_cost", "provider", "enabled", "beta")

# SQLite stores values of any type. Read uncast, one bad row of an operator's cannot fail the query.
READ_COLUMNS = (
    CatalogEntry.model_key,
    CatalogEntry.name,
    CatalogEntry.tier,
    CatalogEntry.credit_cost,
    CatalogEntry.quota_cost,
    CatalogEntry.provider,
    type_coerce(CatalogEntry.enabled, Integer).label("enabled"),
    type_coerce(CatalogEntry.beta, Integer).label("beta"),
    cast(CatalogEntry.capabilities, Text).label("capabilities"),
    CatalogEntry.total_usage,
)


_ALL: Final = select(*READ_COLUMNS).where(CatalogEntry.app_id == APP_ID).order_by(CatalogEntry.model_key)
_NAMES: Final = tuple(str(column.key) for column in _ALL.selected_columns)


@functools.lru_cache(maxsize=64, typed=True)
def _parsed(*row: Any) -> Entry:
    """Parse an entry's row. Cached, since every submission reads all rows and they rarely change."""
    return _entry(dict(zip(_NAMES, row, strict=True)))


class Entries(Repository):
    """Reads and seeds entries, and counts their use."""

    def all(self) -> list[Entry]:
        """Return every entry that can be used, the disabled ones too. See `examined`."""
        return self.examined()[0]

    def examined(self) -> tuple[list[Entry], list[EntryMalformed]]:
        """Return every entry that can be used, and what is wrong with each that cannot.

        An entry that an operator's change has broken is logged and left out: the rest stays on offer.
        """
        entries: list[Entry] = []
        malformed: list[EntryMalformed] = []
        for row in self._session.connection().execute(_ALL):
            try:
                entries.append(_parsed(*row))
            except EntryMalformed as error:
                log.error("catalogue.entry_malformed", entry=error.key, cause=error.cause)  # noqa: TRY400  # no bug
                malformed.append(error)
        return entries, malformed

    def change(self, key: str, **values: object) -> dict[str, object]:
        """Change columns of an entry, named by its key or the short form; return what they were.

        Raises:
            EntryUnknown: there is none.

        """
        rows = [self._session.get(CatalogEntry, (APP_ID, name)) for name in (key, f"{APP_ID}:{key}")]
        row = next((row for row in rows if row is not None), None)
        if row is None:
            raise EntryUnknown(key, tuple(self.keys()))
        before = {name: getattr(row, name) for name in values}
        for name, value in values.items():
            setattr(row, name, value)
        return before | {"key": row.model_key}

    def keys(self) -> list[str]:
        """Return the keys of all entries, including those that cannot be used."""
        return sorted(self._session.scalars(select(CatalogEntry.model_key)))

    def seed(self, shipped: Iterable[Entry]) -> int:
        """Write what is missing or outdated and return how many entries that were.

        A value that an operator changed differs from what seeding last wrote, and is left alone.
        """
        return sum(self._seed_one(entry) for entry in shipped)

    def add_uses(self, model_key: str, uses: int) -> None:
        """Add to the count of an entry's delivered generations."""
        self._session.execute(
            update(CatalogEntry)
            .where(CatalogEntry.app_id == APP_ID, CatalogEntry.model_key == model_key)
            .values(total_usage=CatalogEntry.total_usage + uses, updated_at=CatalogEntry.updated_at)
        )

    def price_without_adapter(self, model_id: str) -> int | None:
        """Return the price of the cheapest entry that draws with this base model alone, if there is one."""
        prices = [
            entry.credit_cost for entry in self.all() if entry.model_id == model_id and entry.adapter is None
        ]
        return min(prices, default=None)

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


def _entry(row: dict[str, Any]) -> Entry:
    try:
        capabilities = json.loads(row["capabilities"])
    except ValueError as error:
        raise EntryMalformed(row["model_key"], f"capabilities is not JSON: {error}") from error
    return Entry.from_row(row | {"capabilities": capabilities})
