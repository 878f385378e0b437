"""The routes of generations."""

import json
from typing import Annotated, Literal, Self

from litestar import Controller, get, post
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from pydantic import Field

from catalog.orders import Provenance
from catalog.selection import Wish
from catalog.traits import TRAIT_NAMES, Traits
from server.caller import Caller
from server.generations import service
from server.generations.states import has_ended
from server.generations.submission import GenerationRequest, Limits, submit
from server.generations.tables import Generation
from server.http.bodies import Fold, Name, Request, View, WireTime, Word
from server.http.event_messages import image_paths
from server.http.event_stream import until_ended
from server.http.request import ApiRequest
from server.http.services import Services
from server.scheduling.estimates import Progress
from server.settings import Settings


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
    width: int | None = None
    height: int | None = None
    seed: Annotated[int | None, Field(ge=0, le=2**32 - 1)] = None
    model_key: Annotated[str | None, Field(max_length=128)] = None

    def request(self, project_id: str) -> GenerationRequest:
        """Return what the use case takes."""
        return GenerationRequest(
            project_id=project_id,
            name=self.name,
            prompt=self.prompt,
            traits=self.traits(),
            wish=Wish(width_px=self.width, height_px=self.height, model_key=self.model_key),
            seed=self.seed,
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


class GenerationAccepted(GenerationAnswer):
    """A generation that was queued and its price held."""

    message: str
    credit_used: int
    credit_balance: int
    note: str


class GenerationController(Controller):
    """Submit generations and read them."""

    tags = ("generations",)

    @post("/projects/{project_id:str}/avatars/generate", status_code=200, sync_to_thread=True)
    def generate(
        self,
        project_id: FromPath[str],
        data: JSONBody[GenerateBody],
        request: ApiRequest,
        services: NamedDependency[Services],
    ) -> GenerationAccepted:
        """Queue one generation and hold its price."""
        submitted = submit(
            services.uow,
            services.wakeups.notify,
            request.user,
            data.request(project_id),
            _limits(services.settings),
        )
        return GenerationAccepted(
            message="Avatar generation started",
            generation=GenerationView.of(submitted.generation),
            credit_used=submitted.credits,
            credit_balance=submitted.balance,
            note="Poll GET /generations/{id} until its status is completed or failed. "
            "A failed generation is given back.",
        )

    @get("/generations/{generation_id:str}")
    async def get(
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


def _limits(settings: Settings) -> Limits:
    """Return what bounds acceptance. Local workers draw on when the day's budget is spent, so it does not."""
    budget_microusd = None if "local" in settings.worker.backends else settings.hosted_budget_microusd
    return Limits(settings.server.queue_max_depth, budget_microusd)
