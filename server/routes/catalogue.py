"""The catalogue as a caller sees it: what can be used, for how much, in which time."""

from typing import Self

from litestar import Controller, get
from litestar.di import NamedDependency

from catalog.entries import MIN_SIZE_PX, SIZE_STEP_PX
from server.http.bodies import View
from server.http.request import ApiRequest
from server.http.services import Services
from server.scheduling import offers
from server.scheduling.drawing_times import DrawingTime
from server.scheduling.offers import Offer


class DrawingTimeView(View):
    """The estimated seconds of drawing. measured: here; otherwise they are the catalogue's range."""

    p50: float
    p90: float
    measured: bool

    @classmethod
    def of(cls, time: DrawingTime) -> Self:
        """Return an estimate in seconds."""
        return cls(p50=time.p50_s, p90=time.p90_s, measured=time.measured)


class SizeLimits(View):
    """The sizes of an entry's images in pixels. Each side is a multiple of `step`."""

    width: int
    height: int
    min_side: int
    max_width: int
    max_height: int
    step: int


class LicenceView(View):
    """The licence of the base model."""

    name: str
    commercial: bool
    note: str


class OfferView(View):
    """One entry of the catalogue, as the caller can use it. reason: why it is not usable."""

    model_key: str
    short_key: str
    name: str
    tier: str
    quality: str
    usable: bool
    reason: str | None
    credit_cost: int
    size: SizeLimits
    licence: LicenceView
    estimated_seconds: DrawingTimeView | None

    @classmethod
    def of(cls, offer: Offer) -> Self:
        """Return an offer as clients read it."""
        entry = offer.entry
        return cls(
            model_key=entry.key,
            short_key=entry.short_key,
            name=entry.name,
            tier=entry.tier.value,
            quality=entry.quality.value,
            usable=offer.unusable_because is None,
            reason=offer.unusable_because,
            credit_cost=offer.credits,
            size=SizeLimits(
                width=entry.width_px,
                height=entry.height_px,
                min_side=MIN_SIZE_PX,
                max_width=entry.max_width_px,
                max_height=entry.max_height_px,
                step=SIZE_STEP_PX,
            ),
            licence=LicenceView.model_validate(entry.licence),
            estimated_seconds=DrawingTimeView.of(offer.drawing_time) if offer.drawing_time else None,
        )


class CatalogueAnswer(View):
    """The whole catalogue, the cheapest tier first."""

    catalogue: list[OfferView]


class CatalogueController(Controller):
    """What is on offer to the caller."""

    path = "/catalogue"
    tags = ("models",)

    @get(sync_to_thread=True)
    def list_all(self, request: ApiRequest, services: NamedDependency[Services]) -> CatalogueAnswer:
        """List every entry, whether the caller can use it, and its price and time for the caller."""
        found = offers.list_all(services.uow, request.user)
        return CatalogueAnswer(catalogue=[OfferView.of(offer) for offer in found])
