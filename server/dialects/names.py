"""Which entry the name of a model means, as clients of other APIs spell it."""

from collections.abc import Mapping

from catalog.entries import APP_ID, Entry
from catalog.selection import UnknownEntry
from server.entries import service as entries
from server.http.services import Services


def entry_named(services: Services, name: str, published: Mapping[str, str] | None = None) -> Entry:
    """Return the entry of a key, or the cheapest that draws with a model alone, or with an adapter.

    published: what a provider calls them, and their names at the hub.

    Raises:
        UnknownEntry: there is none that is on offer.

    """
    on_offer = sorted(
        (entry for entry in entries.examine(services.uow)[0] if entry.enabled),
        key=lambda entry: (entry.credit_cost, entry.key),
    )
    short_key = name.removeprefix(f"{APP_ID}:").removeprefix(f"{APP_ID}/")
    meant = (published or {}).get(name, name)
    for entry in on_offer:
        if short_key == entry.short_key:
            return entry
    for entry in on_offer:
        if meant == (entry.adapter.model_id if entry.adapter else entry.model_id):
            return entry
    raise UnknownEntry(name, tuple(entry.short_key for entry in on_offer))
