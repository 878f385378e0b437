"""The bodies of requests and answers about generations."""

import json
from datetime import datetime
from functools import partial
from typing import Annotated, Final, Literal, Self

from pydantic import Field, WithJsonSchema

from catalog.entries import MIN_SIZE_PX, SIZE_STEP_PX
from catalog.orders import Provenance
from catalog.prompts import MAX_CHARS, MIN_CHARS
from catalog.selection import Wish, WishedQuality
from catalog.traits import TRAIT_NAMES, Traits
from server.generations.quotes import Quote
from server.generations.submission import GenerationRequest, Notify, Submitted
from server.generations.tables import Generation
from server.http.bodies import Fold, Name, Request, View, WireTime, Word, examples
from server.http.idempotency import Spent
from server.http.paging import PageMeta
from server.routes.catalogue import DrawingTimeView
from server.scheduling.estimates import Progress
from server.scheduling.offers import DryRun

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

    model_config = examples(
        {"name": "Ada", "prompt": "portrait of a woman with long red hair and glasses"},
        {
            "name": "Grace",
            "prompt": "head and shoulders, soft light from the left",
            "gender": "female",
            "ageRange": "adult",
            "hairColor": "black",
            "personaPersonality": ["calm", "curious"],
            "modelKey": "avatar-creator:flux-schnell-fast",
            "width": 512,
            "height": 512,
            "seed": 42,
        },
    )

    name: Name
    prompt: Annotated[str, Field(min_length=MIN_CHARS, max_length=MAX_CHARS), Fold]
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
    profile: str | None

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
            profile=provenance.profile,
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
