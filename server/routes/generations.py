"""The routes of generations."""

import json
from datetime import datetime
from functools import partial
from typing import Annotated, Final, Literal, Self

from litestar import Controller, Response, delete, get, post
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter
from pydantic import Field, WithJsonSchema

from catalog.entries import MIN_SIZE_PX, SIZE_STEP_PX
from catalog.orders import Provenance
from catalog.selection import Wish, WishedQuality
from catalog.traits import TRAIT_NAMES, Traits
from server.caller import Caller
from server.db.unit_of_work import Transaction
from server.generations import service
from server.generations.quotes import Quote
from server.generations.service import GenerationEnded
from server.generations.states import Status, has_ended
from server.generations.submission import GenerationRequest, Limits, Notify, Submitted, accept
from server.generations.tables import Generation
from server.http.bodies import Fold, Message, Name, Request, View, WireTime, Word
from server.http.event_messages import image_paths
from server.http.event_stream import until_ended
from server.http.idempotency import IdempotencyKey, Spent, spend_once
from server.http.paging import DEFAULT_LIMIT, Cursor, Limit, PageMeta, page_meta, position
from server.http.request import ApiRequest
from server.http.services import Services
from server.routes import refusals
from server.routes.catalogue import DrawingTimeView
from server.scheduling import offers
from server.scheduling.estimates import Progress
from server.scheduling.offers import DryRun
from server.settings import Settings

DryRunQuery = Annotated[
    bool, QueryParameter(name="dryRun", description="Say what the generation would be, and hold nothing.")
]

# Checked by `catalog.selection`, whose message names the limit; the largest is the entry's.
_SIDE: Final = {"type": "integer", "minimum": MIN_SIZE_PX, "multipleOf": SIZE_STEP_PX}
Side = Annotated[int | None, WithJsonSchema({"anyOf": [_SIDE, {"type": "null"}]})]


class TraitsBody(Request):
    """The persona and the looks that a request may name. All optional."""

    persona_name: Annotated[str | None, Field(max_length=100)] = None
    persona_age: Annotated[int | None, Field(ge=1, le=120)] = None
    persona_personality: Annotated[list[Word] | None, Field(max_length=10)] = None
    persona_background: Annotated[str | None, Field(max_length=500)] = None
    gender: Literal["male", "female", "unisex"] | None = None
    age_range: Literal["young", "adult", "mature"] | None = None
    ethnicity: Word | None = None
    body_type: Word | None = None
    hair_style: Word | None = None
    hair_color: Word | None = None
    eye_color: Word | None = None
    skin_tone: Word | None = None
    style: Word | None = None

    def traits(self) -> Traits:
        """Return the traits as the catalogue has them."""
        return Traits.from_json(self.model_dump(include=set(TRAIT_NAMES)))


class GenerateBody(TraitsBody):
    """The body of POST /projects/{projectId}/avatars/generate."""

    name: Name
    prompt: Annotated[str, Field(min_length=10, max_length=2000), Fold]
    width: Side = None
    height: Side = None
    seed: Annotated[int | None, Field(ge=0, le=2**32 - 1)] = None
    model_key: Annotated[str | None, Field(max_length=128)] = None
    quote_id: Annotated[str | None, Field(max_length=1000)] = None
    quality: Literal["fast", "balanced", "quality", "ultra"] | None = None

    def request(self, project_id: str, quote: Quote | None = None) -> GenerationRequest:
        """Return what the use case takes."""
        return GenerationRequest(
            project_id=project_id,
            name=self.name,
            prompt=self.prompt,
            traits=self.traits(),
            wish=Wish(
                width_px=self.width,
                height_px=self.height,
                model_key=self.model_key,
                quality=WishedQuality(self.quality) if self.quality else None,
            ),
            seed=self.seed,
            quote=quote,
        )


class ProvenanceView(View):
    """What an image was really made with. What it cost is the operator's affair."""

    backend: str
    provider: str | None
    model_id: str
    model_revision: str | None
    lora_model: str | None
    lora_scale: float | None
    seed: int

    @classmethod
    def of(cls, provenance: Provenance) -> Self:
        """Return a provenance in the words of the catalogue."""
        adapter = provenance.adapter
        return cls(
            backend=provenance.backend,
            provider=provenance.provider,
            model_id=provenance.model_id,
            model_revision=provenance.revision,
            lora_model=adapter.model_id if adapter else None,
            lora_scale=adapter.scale if adapter else None,
            seed=provenance.seed,
        )


class ProgressView(View):
    """How far a generation is. Place and seconds are estimates; docs/adr/0016 says from what."""

    phase: str
    step: int
    steps: int
    queue_position: int | None
    estimated_seconds_left: float | None

    @classmethod
    def of(cls, progress: Progress) -> Self:
        """Return a progress in the words of the contract."""
        return cls(
            phase=progress.phase,
            step=progress.step,
            steps=progress.steps,
            queue_position=progress.queue_position,
            estimated_seconds_left=progress.seconds_left,
        )


class GenerationView(View):
    """A generation. `options` is JSON text, as the existing clients parse it."""

    id: str
    user_id: str
    project_id: str
    avatar_id: str | None
    status: str
    prompt: str
    options: str = "{}"
    error_code: str | None
    error_message: str | None
    attempt: int
    made_with: ProvenanceView | None = None
    created_at: WireTime
    updated_at: WireTime
    completed_at: WireTime | None
    image_url: str | None = None
    thumbnail_url: str | None = None
    progress: ProgressView | None = None

    @classmethod
    def of(cls, generation: Generation) -> Self:
        """Return a generation with its options and, once completed, its provenance."""
        provenance = generation.provenance
        made_with = ProvenanceView.of(provenance) if provenance else None
        update = {"options": json.dumps(_options(generation)), "made_with": made_with}
        return cls.model_validate(generation).model_copy(update=update)


class GenerationAnswer(View):
    """One generation."""

    generation: GenerationView


class GenerationList(View):
    """Some of a user's generations, newest first."""

    generations: list[GenerationView]
    meta: PageMeta


class GenerationCancelled(GenerationAnswer):
    """A generation that was cancelled, with its hold given back."""

    message: str
    credit_balance: int


class DryRunAnswer(View):
    """What a generation would be. Nothing is held or queued.

    quote_id: sent with the same wish until it expires, it makes the price binding.
    estimated_wait_seconds: None if no worker is ready.
    """

    dry_run: bool
    model_key: str
    model_name: str
    width: int
    height: int
    credit_cost: int
    credit_balance: int
    sufficient_credits: bool
    estimated_wait_seconds: float | None
    estimated_seconds: DrawingTimeView | None
    quote_id: str
    quote_expires_at: WireTime

    @classmethod
    def of(cls, found: DryRun, quote_id: str, expires_at: datetime) -> Self:
        """Return a dry run as clients read it."""
        choice = found.choice
        return cls(
            dry_run=True,
            model_key=choice.entry.key,
            model_name=choice.entry.name,
            width=choice.width_px,
            height=choice.height_px,
            credit_cost=choice.credits,
            credit_balance=found.balance,
            sufficient_credits=found.balance >= choice.credits,
            estimated_wait_seconds=found.wait_s,
            estimated_seconds=DrawingTimeView.of(found.drawing_time) if found.drawing_time else None,
            quote_id=quote_id,
            quote_expires_at=expires_at,
        )


class GenerationAccepted(GenerationAnswer):
    """A generation that was queued and its price held."""

    message: str
    credit_used: int
    credit_balance: int
    note: str


def accepted(submitted: Submitted, notify: Notify) -> Spent[GenerationAccepted]:
    """Return the answer to a submission, which notifies a worker once it is committed."""
    answer = GenerationAccepted(
        message="Avatar generation started",
        generation=GenerationView.of(submitted.generation),
        credit_used=submitted.credits,
        credit_balance=submitted.balance,
        note="Poll GET /generations/{id} until its status is completed or failed. "
        "A failed generation is given back.",
    )
    return Spent(answer, committed=partial(notify, submitted.generation.id))


_QUEUED_OR_ASKED: Final = {
    200: ResponseSpec(
        GenerationAccepted | DryRunAnswer,  # type: ignore[arg-type]  # described as one of both
        generate_examples=False,
        description="What was or would be queued.",
    )
}


class GenerationController(Controller):
    """Submit generations, read, cancel and delete them."""

    tags = ("generations",)

    @post(
        "/projects/{project_id:str}/avatars/generate",
        status_code=200,
        sync_to_thread=True,
        rate_limit="generate",
        refuses=refusals.WISHED,
        responses=_QUEUED_OR_ASKED,
    )
    def generate(
        self,
        project_id: FromPath[str],
        data: JSONBody[GenerateBody],
        request: ApiRequest,
        services: NamedDependency[Services],
        idempotency_key: IdempotencyKey = None,
        dry_run: DryRunQuery = False,
    ) -> Response[GenerationAccepted] | Response[DryRunAnswer]:
        """Queue one generation and hold its price, or with `dryRun=true` say what it would be."""
        caller, limits = request.user, limits_of(services.settings)
        quote = services.quotes.read(data.quote_id, caller.user_id) if data.quote_id is not None else None
        asked = data.request(project_id, quote)
        if dry_run:
            found = offers.dry_run(services.uow, caller, asked, limits)
            return Response(DryRunAnswer.of(found, *services.quotes.sign(found.quote)))

        def spend(tx: Transaction) -> Spent[GenerationAccepted]:
            return accepted(accept(tx, caller, asked, limits), services.wakeups.notify)

        return spend_once(services, request, idempotency_key, data, spend)

    @get("/generations/{generation_id:str}", refuses=refusals.STREAMED)
    async def read(
        self,
        generation_id: FromPath[str],
        request: ApiRequest,
        services: NamedDependency[Services],
        wait: Annotated[int, QueryParameter(ge=0, le=60, description="Seconds to wait for its end.")] = 0,
    ) -> GenerationAnswer:
        """Read one generation; with `wait`, as soon as it has ended or when the seconds are over."""
        caller = request.user
        view = await sync_to_thread(_follow, services, caller, generation_id)
        if wait and not has_ended(view.status):
            await until_ended(services.feed, caller.user_id, generation_id, wait, request.receive)
            view = await sync_to_thread(_follow, services, caller, generation_id)
        return GenerationAnswer(generation=view)

    @get("/generations", sync_to_thread=True)
    def list_page(
        self,
        request: ApiRequest,
        services: NamedDependency[Services],
        status: FromQuery[Status | None] = None,
        project_id: Annotated[str | None, QueryParameter(name="projectId", max_length=64)] = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> GenerationList:
        """List the caller's generations, newest first, a page at a time."""
        after = position(cursor)
        page = service.list_page(
            services.uow, request.user, limit, after=after, status=status, project_id=project_id
        )
        last = page.generations[-1] if page.more else None
        return GenerationList(
            generations=[GenerationView.of(one) for one in page.generations],
            meta=page_meta(limit, (last.created_at, last.id) if last else None),
        )

    @post(
        "/generations/{generation_id:str}/cancel",
        status_code=200,
        sync_to_thread=True,
        refuses=(GenerationEnded,),
    )
    def cancel(
        self, generation_id: FromPath[str], request: ApiRequest, services: NamedDependency[Services]
    ) -> GenerationCancelled:
        """Cancel a generation that has not ended. Its hold is given back at once."""
        cancelled = service.cancel(services.uow, request.user, generation_id)
        return GenerationCancelled(
            message="Generation cancelled",
            generation=GenerationView.of(cancelled.generation),
            credit_balance=cancelled.balance,
        )

    @delete("/generations/{generation_id:str}", status_code=200, sync_to_thread=True)
    def remove(
        self, generation_id: FromPath[str], request: ApiRequest, services: NamedDependency[Services]
    ) -> Message:
        """Delete a generation, cancelled first if it has not ended. Its avatar stays."""
        service.delete(services.uow, request.user, generation_id)
        return Message(message="Generation deleted successfully")


def _follow(services: Services, caller: Caller, generation_id: str) -> GenerationView:
    with services.uow.read() as tx:
        followed = service.follow(tx, caller, generation_id)
        progress = services.estimates.progress(tx, followed.generation)
    paths = image_paths(services.links, followed.image_key)
    update = {
        "image_url": paths["imageUrl"],
        "thumbnail_url": paths["thumbnailUrl"],
        "progress": ProgressView.of(progress) if progress else None,
    }
    return GenerationView.of(followed.generation).model_copy(update=update)


def _options(generation: Generation) -> dict[str, object]:
    order = generation.order
    return {
        "width": order.width_px,
        "height": order.height_px,
        "seed": order.seed,
        "modelKey": generation.entry_key,
        "modelName": generation.entry_name,
        "numInferenceSteps": order.steps,
        "guidanceScale": order.guidance_scale,
        "loraModel": order.adapter.model_id if order.adapter else None,
        "loraScale": order.adapter.scale if order.adapter else None,
    }


def limits_of(settings: Settings) -> Limits:
    """Return what bounds acceptance. Local workers draw on when the day's budget is spent, so it does not."""
    budget_microusd = None if "local" in settings.worker.backends else settings.hosted_budget_microusd
    return Limits(settings.server.queue_max_depth, budget_microusd, settings.server.queue_max_per_user)
