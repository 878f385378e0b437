"""The routes of the catalogue."""

from typing import Any

from litestar import Controller, get
from litestar.di import NamedDependency

from catalog.entries import Entry
from server.envelope import ApiRequest
from server.services import Services

POPULAR = 10  # Source: the contract, section 3


class EntryController(Controller):
    """What is on offer, and what a user has used of it."""

    path = "/api/models"
    tags = ("models",)

    @get("/popular", public=True, sync_to_thread=True)
    def popular(self, services: NamedDependency[Services]) -> dict[str, Any]:
        """List the ten entries that are used most."""
        with services.uow.read() as tx:
            entries = [entry for entry in tx.entries.all() if entry.enabled]
        entries.sort(key=lambda entry: (-entry.total_usage, entry.tier.rank, entry.key))
        return {"success": True, "data": {"models": [_view(entry) for entry in entries[:POPULAR]]}}

    @get("/usage", sync_to_thread=True)
    def usage(self, request: ApiRequest, services: NamedDependency[Services]) -> dict[str, Any]:
        """List how often the caller was delivered each entry."""
        with services.uow.read() as tx:
            uses = tx.entries.uses_by(request.user.user_id)
            entries = tx.entries.all()
        usages = [_view(entry) | {"usageCount": uses[entry.key]} for entry in entries if entry.key in uses]
        usages.sort(key=lambda usage: (-usage["usageCount"], usage["modelKey"]))
        return {"success": True, "data": {"usages": usages}}


def _view(entry: Entry) -> dict[str, Any]:
    capabilities = entry.capabilities()
    return {
        "modelKey": entry.key,
        "name": entry.name,
        "tier": entry.tier.value,
        "creditCost": entry.credit_cost,
        "quotaCost": entry.quota_cost,
        "provider": entry.provider,
        "enabled": entry.enabled,
        "beta": entry.beta,
        "totalUsage": entry.total_usage,
        "licence": capabilities.pop("licence"),
        "capabilities": capabilities,
    }
