"""The routes of the catalogue."""

import json
from typing import Any, Final

from litestar import Controller, get
from litestar.di import NamedDependency

from catalog.entries import APP_ID, Entry
from server.clock import wire
from server.entries import service
from server.generations.service import Use, uses
from server.http.request import ApiRequest
from server.http.services import Services

POPULAR: Final = 10  # Source: the contract, section 3
USES: Final = 100  # Source: the same


@get("/models", tags=["models"], sync_to_thread=True)
def read_models(request: ApiRequest, services: NamedDependency[Services]) -> dict[str, Any]:
    """List the entries that the caller may use."""
    within_reach = service.within_reach(services.uow, request.user.tier)
    return {"models": [_view(entry) for entry in within_reach]}


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
        """List the caller's last 100 uses of any entry, newest first: generations that were delivered."""
        usages = [_use(use) for use in uses(services.uow, request.user, USES)]
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


def _use(use: Use) -> dict[str, Any]:
    generation, entry = use.generation, use.entry
    size = {"width": generation.order.width_px, "height": generation.order.height_px}
    return {
        "id": generation.id,
        "userId": generation.user_id,
        "appId": APP_ID,
        "modelKey": generation.entry_key,
        "usageType": "credit",  # this and the next three are as the old back end called them
        "creditUsed": use.credits,
        "quotaUsed": None,
        "action": "generate_avatar",
        "metadata": json.dumps(size | {"generationId": generation.id, "avatarId": generation.avatar_id}),
        "creditsUsed": use.credits,
        "createdAt": wire(generation.created_at),
        "model": {
            "name": entry.name if entry else generation.entry_name,
            "provider": entry.provider if entry else None,
            "tier": entry.tier.value if entry else None,
        },
    }
