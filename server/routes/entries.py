"""The routes of the catalogue."""

from typing import Any, Final

from litestar import Controller, get
from litestar.di import NamedDependency

from catalog.entries import Entry
from server.entries import service
from server.generations.service import usage
from server.http.request import ApiRequest
from server.http.services import Services

POPULAR: Final = 10  # Source: the contract, section 3


class EntryController(Controller):
    """What is on offer, and what a user has used of it."""

    path = "/api/models"
    tags = ("models",)

    @get("/popular", public=True, sync_to_thread=True)
    def popular(self, services: NamedDependency[Services]) -> dict[str, Any]:
        """List the ten entries that are used most."""
        models = [_view(entry) for entry in service.popular(services.uow, POPULAR)]
        return {"success": True, "data": {"models": models}}

    @get("/usage", sync_to_thread=True)
    def usage(self, request: ApiRequest, services: NamedDependency[Services]) -> dict[str, Any]:
        """List how often the caller was delivered each entry."""
        usages = [_view(entry) | {"usageCount": uses} for entry, uses in usage(services.uow, request.user)]
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
