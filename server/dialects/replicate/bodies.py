"""The bodies of Replicate's API, as far as they mean something here. Source: replicate 1.0.7, its models."""

import hashlib
import json
from dataclasses import asdict
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from catalog.entries import APP_ID, Adapter, Entry
from catalog.orders import Order
from catalog.prompts import MAX_CHARS, MIN_CHARS
from catalog.selection import Wish
from server.clock import wire
from server.dialects.asking import Asked
from server.dialects.checks import NO_IMAGE, NO_NEGATIVE_PROMPT, check_fixed, refuse, size_of_ratio
from server.dialects.formats import PlainRequest, PlainView
from server.dialects.tickets import MAX_IMAGES, Stage, Ticket
from server.http.bodies import Fold

OWNER: Final = APP_ID
PUBLISHED: Final = {
    "black-forest-labs/flux-dev": "black-forest-labs/FLUX.1-dev",
    "black-forest-labs/flux-schnell": "black-forest-labs/FLUX.1-schnell",
    "xlabs-ai/flux-dev-realism": "XLabs-AI/flux-RealismLora",
}
"""Replicate's names of what is drawn here."""
STATUSES: Final = {
    Stage.QUEUED: "starting",
    Stage.DRAWN: "processing",
    Stage.SUCCEEDED: "succeeded",
    Stage.FAILED: "failed",
    Stage.CANCELLED: "canceled",
}
RATIO: Final = r"^[1-9][0-9]?:[1-9][0-9]?$"
COG: Final = "0.9.0"  # of Replicate's packaging; from 0.3.9 on clients read the schema as it is
FORMATS: Final = {"png": "png", "jpg": "jpeg", "jpeg": "jpeg", "webp": "webp"}

OutputFormat = Literal["png", "jpg", "jpeg", "webp"]


class Input(PlainRequest):
    """What is to be drawn. What it has beside this is ignored."""

    prompt: Annotated[str, Field(min_length=MIN_CHARS, max_length=MAX_CHARS), Fold]
    seed: Annotated[int | None, Field(ge=0, le=2**32 - 1)] = None
    num_outputs: Annotated[int | None, Field(ge=1, le=MAX_IMAGES)] = None
    width: int | None = None
    height: int | None = None
    aspect_ratio: Annotated[str | None, Field(pattern=RATIO)] = None
    num_inference_steps: int | None = None
    guidance: float | None = None
    guidance_scale: float | None = None
    negative_prompt: str | None = None
    image: str | None = None
    output_format: OutputFormat | None = None

    def asked(self, entry: Entry) -> Asked:
        """Return what is to be drawn.

        Raises:
            InputInvalid: something is asked for that would not be drawn.

        """
        check_fixed(
            entry,
            steps={"num_inference_steps": self.num_inference_steps},
            guidance={"guidance": self.guidance, "guidance_scale": self.guidance_scale},
        )
        refuse(
            negative_prompt=NO_NEGATIVE_PROMPT if self.negative_prompt else None,
            image=NO_IMAGE if self.image else None,
        )
        width_px, height_px = self.width, self.height
        if self.aspect_ratio is not None and width_px is None and height_px is None:
            width, _, height = self.aspect_ratio.partition(":")
            width_px, height_px = size_of_ratio(entry, int(width), int(height))
        wish = Wish(width_px=width_px, height_px=height_px, model_key=entry.key)
        return Asked("replicate", self.prompt, wish, self.seed, self.num_outputs or 1)


class CreatePrediction(PlainRequest):
    """The body of POST /v1/models/{owner}/{name}/predictions."""

    input: Input


class CreateOfVersion(CreatePrediction):
    """The body of POST /v1/predictions. version: its id, owner/name, or owner/name:id."""

    version: Annotated[str, Field(max_length=200)]


class PredictionShape(PlainView):
    """A prediction: the generations of one request. output: an address for each image."""

    id: str
    model: str
    version: str
    input: dict[str, Any]
    logs: str
    output: list[str] | None
    data_removed: bool
    error: str | None
    status: str
    created_at: str | None
    started_at: str | None
    completed_at: str | None
    metrics: dict[str, float]
    urls: dict[str, str]

    @classmethod
    def of(cls, ticket: Ticket, output: list[str] | None, base: str) -> "PredictionShape":
        """Return a prediction. output: None until something is drawn. base: the address of this server."""
        first, order = ticket.first, ticket.first.order
        failed = ticket.failed if ticket.stage is Stage.FAILED else None
        path = f"{base}/v1/predictions/{ticket.id}"
        return cls(
            id=ticket.id,
            model=f"{OWNER}/{first.entry_key.rpartition(':')[2]}",
            version=version_of(first.entry_key, order),
            input={
                "prompt": first.prompt,
                "seed": order.seed,
                "width": order.width_px,
                "height": order.height_px,
                "num_outputs": len(ticket.generations),
                "num_inference_steps": order.steps,
                "guidance": order.guidance_scale,
            },
            logs=_progress_bar(ticket),
            output=output,
            data_removed=ticket.stage is Stage.SUCCEEDED and not output,
            error=failed.error_message if failed else None,
            status=STATUSES[ticket.stage],
            created_at=wire(first.created_at),
            started_at=wire(ticket.started_at),
            completed_at=wire(ticket.completed_at),
            metrics={} if ticket.seconds is None else {"predict_time": ticket.seconds},
            urls={"get": path, "cancel": f"{path}/cancel"},
        )


class PageShape(PlainView):
    """Some predictions, newest first. next: the address of those before."""

    previous: None = None
    next: str | None
    results: list[PredictionShape]


class VersionShape(PlainView):
    """What an entry draws with, and what it takes."""

    id: str
    created_at: str
    cog_version: str = COG
    openapi_schema: dict[str, Any]


class ModelShape(PlainView):
    """An entry."""

    url: str
    owner: str
    name: str
    description: str
    visibility: Literal["public"] = "public"
    github_url: None = None
    paper_url: None = None
    license_url: None = None
    run_count: int
    cover_image_url: None = None
    default_example: None = None
    latest_version: VersionShape


def version_of(entry_key: str, drawn_with: Entry | Order) -> str:
    """Return the id of a version: another one as soon as an entry draws with anything else."""
    adapter: Adapter | None = drawn_with.adapter
    determining: dict[str, Any] = {
        "entry": entry_key,
        "model": drawn_with.model_id,
        "revision": drawn_with.revision,
        "adapter": asdict(adapter) if adapter else None,
        "steps": drawn_with.steps,
        "guidance": drawn_with.guidance_scale,
        "tokens": drawn_with.max_text_tokens,
    }
    return hashlib.sha256(json.dumps(determining, sort_keys=True).encode()).hexdigest()


def version_shape(entry: Entry, published_at: str) -> VersionShape:
    """Describe a version. Its output is a list of addresses that comes as a whole."""
    schemas = {
        "Input": Input.model_json_schema(),
        "Output": {"type": "array", "items": {"type": "string", "format": "uri"}, "title": "Output"},
    }
    return VersionShape(
        id=version_of(entry.key, entry),
        created_at=published_at,
        openapi_schema={
            "openapi": "3.0.2",
            "info": {"title": entry.name, "version": "1"},
            "paths": {},
            "components": {"schemas": schemas},
        },
    )


def _progress_bar(ticket: Ticket) -> str:
    """Return the steps as Replicate's clients read progress from logs: a line as tqdm writes it."""
    if ticket.progress is None or not ticket.progress.step:
        return ""
    step, steps = ticket.progress.step, ticket.progress.steps
    return f"{100 * step // steps}%|{'#' * (10 * step // steps) or ' '}| {step}/{steps}\n"
