"""The routes of the catalogue."""

import json
from typing import Annotated, Final, Literal, Self

from litestar import Controller, get
from litestar.di import NamedDependency
from pydantic import Field

from catalog.entries import APP_ID, Entry
from server.entries import service
from server.generations.service import Use, uses
from server.http.bodies import View, WireTime
from server.http.request import ApiRequest
from server.http.services import Services
from server.routes.catalogue import LicenceView

POPULAR: Final = 10  # Source: the contract, section 3
USES: Final = 100  # Source: the same


def _absent(value: object) -> bool:
    return value is None


class CapabilitiesView(View):
    """The parameters of an entry. Two of them are there only where they are true."""

    model_id: str
    lora_model: str | None
    lora_scale: float | None
    use_lora: Annotated[bool, Field(alias="useLoRA")]
    width: int
    height: int
    max_width: int
    max_height: int
    num_inference_steps: int
    guidance_scale: float
    quality: str
    processing_time: str
    fast_mode: Annotated[Literal[True] | None, Field(exclude_if=_absent)] = None
    ultra_realistic: Annotated[Literal[True] | None, Field(exclude_if=_absent)] = None
    model_revision: str | None
    lora_weight_name: str | None
    lora_revision: str | None
    max_text_tokens: int
    quality_terms: list[str]


class EntryView(View):
    """One entry of the catalogue."""

    model_key: str
    name: str
    tier: str
    credit_cost: int
    quota_cost: int
    provider: str
    enabled: bool
    beta: bool
    total_usage: int
    licence: LicenceView
    capabilities: CapabilitiesView

    @classmethod
    def of(cls, entry: Entry) -> Self:
        """Return an entry as clients read it."""
        return cls(
            model_key=entry.key,
            name=entry.name,
            tier=entry.tier.value,
            credit_cost=entry.credit_cost,
            quota_cost=entry.quota_cost,
            provider=entry.provider,
            enabled=entry.enabled,
            beta=entry.beta,
            total_usage=entry.total_usage,
            licence=LicenceView.model_validate(entry.licence),
            capabilities=CapabilitiesView.model_validate(entry.capabilities()),
        )


class EntryList(View):
    """Entries of the catalogue."""

    models: list[EntryView]


class PopularAnswer(View):
    """The entries that are used most."""

    success: Literal[True] = True
    data: EntryList


class UsedModel(View):
    """The entry of a use; provider and tier are null if it is no longer in the catalogue."""

    name: str
    provider: str | None
    tier: str | None


class EntryUseView(View):
    """One use of an entry. `metadata` is JSON text: the size, the generation and its avatar."""

    id: str
    user_id: str
    app_id: str = APP_ID
    model_key: str
    usage_type: str = "credit"  # this and the next three are as the old back end called them
    credit_used: int
    quota_used: None = None
    action: str = "generate_avatar"
    metadata: str
    credits_used: int
    created_at: WireTime
    model: UsedModel

    @classmethod
    def of(cls, use: Use) -> Self:
        """Return a use as clients read it."""
        generation, entry = use.generation, use.entry
        size = {"width": generation.order.width_px, "height": generation.order.height_px}
        made = {"generationId": generation.id, "avatarId": generation.avatar_id}
        return cls(
            id=generation.id,
            user_id=generation.user_id,
            model_key=generation.entry_key,
            credit_used=use.credits,
            metadata=json.dumps(size | made),
            credits_used=use.credits,
            created_at=generation.created_at,
            model=UsedModel(
                name=entry.name if entry else generation.entry_name,
                provider=entry.provider if entry else None,
                tier=entry.tier.value if entry else None,
            ),
        )


class EntryUses(View):
    """A user's uses of entries, newest first."""

    usages: list[EntryUseView]


class EntryUsesAnswer(View):
    """A user's uses of entries."""

    success: Literal[True] = True
    data: EntryUses


@get("/models", tags=["models"], sync_to_thread=True)
def read_models(request: ApiRequest, services: NamedDependency[Services]) -> EntryList:
    """List the entries that the caller may use."""
    within_reach = service.within_reach(services.uow, request.user.tier)
    return EntryList(models=[EntryView.of(entry) for entry in within_reach])


class EntryController(Controller):
    """What is on offer, and what a user has used of it."""

    path = "/api/models"
    tags = ("models",)

    @get("/popular", public=True, sync_to_thread=True)
    def popular(self, services: NamedDependency[Services]) -> PopularAnswer:
        """List the ten entries that are used most."""
        found = service.popular(services.uow, POPULAR)
        return PopularAnswer(data=EntryList(models=[EntryView.of(entry) for entry in found]))

    @get("/usage", sync_to_thread=True)
    def usage(self, request: ApiRequest, services: NamedDependency[Services]) -> EntryUsesAnswer:
        """List the caller's last 100 uses of any entry, newest first: generations that were delivered."""
        found = uses(services.uow, request.user, USES)
        return EntryUsesAnswer(data=EntryUses(usages=[EntryUseView.of(use) for use in found]))
