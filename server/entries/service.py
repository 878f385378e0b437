"""The use cases of the catalogue."""

from collections.abc import Iterable

from catalog.entries import Entry, EntryMalformed
from catalog.tiers import Tier
from server.db.unit_of_work import UnitOfWork
from server.entries.repository import Entries
from server.logs import get_log

log = get_log(__name__)


def popular(uow: UnitOfWork, limit: int) -> list[Entry]:
    """Return the enabled entries that are used most, the most used first."""
    with uow.read() as tx:
        entries = [entry for entry in Entries(tx).all() if entry.enabled]
    entries.sort(key=lambda entry: (-entry.total_usage, entry.tier.rank, entry.key))
    return entries[:limit]


def within_reach(uow: UnitOfWork, tier: Tier) -> list[Entry]:
    """Return the enabled entries that a user of this tier may use, the lowest tier and price first."""
    with uow.read() as tx:
        entries = [entry for entry in Entries(tx).all() if entry.enabled and tier.reaches(entry.tier)]
    return sorted(entries, key=lambda entry: (entry.tier.rank, entry.credit_cost, entry.key))


def examine(uow: UnitOfWork) -> tuple[list[Entry], list[EntryMalformed]]:
    """Return every entry that can be used, and what is wrong with each that cannot."""
    with uow.read() as tx:
        return Entries(tx).examined()


def change(uow: UnitOfWork, key: str, **values: object) -> str:
    """Change an entry's price or whether it is on offer, as its operator; return its key.

    The log says what it was and what it is. Seeding leaves what was changed.

    Raises:
        EntryUnknown: there is none of this key.

    """
    with uow.begin() as tx:
        before = Entries(tx).change(key, **values)
    found = str(before.pop("key"))
    log.info("entry.changed", entry=found, before=before, after=values)
    return found


def seed(uow: UnitOfWork, shipped: Iterable[Entry]) -> int:
    """Write what is missing or outdated of the shipped entries; return how many that were."""
    with uow.begin() as tx:
        return Entries(tx).seed(shipped)
