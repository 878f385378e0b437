"""The bodies of fal's API, as far as they mean something here. Source: fal-client 1.0.3, fal's models."""

from typing import Annotated, Any, Final, Literal

from pydantic import Field

from catalog.entries import Entry
from catalog.prompts import MAX_CHARS, MIN_CHARS
from catalog.selection import Wish
from server.dialects.asking import Asked
from server.dialects.checks import NO_IMAGE, NO_NEGATIVE_PROMPT, check_fixed, refuse
from server.dialects.formats import PlainRequest, PlainView
from server.dialects.tickets import MAX_IMAGES, Stage, Ticket
from server.http.bodies import Fold

PUBLISHED: Final = {
    "fal-ai/flux/dev": "black-forest-labs/FLUX.1-dev",
    "fal-ai/flux-1/dev": "black-forest-labs/FLUX.1-dev",
    "fal-ai/flux/schnell": "black-forest-labs/FLUX.1-schnell",
    "fal-ai/flux-1/schnell": "black-forest-labs/FLUX.1-schnell",
    "fal-ai/flux-realism": "XLabs-AI/flux-RealismLora",
}
"""fal's names of what is drawn here."""
SIZES_PX: Final = {
    "square_hd": (1024, 1024),
    "square": (512, 512),
    "portrait_4_3": (768, 1024),
    "portrait_16_9": (576, 1024),
    "landscape_4_3": (1024, 768),
    "landscape_16_9": (1024, 576),
}

SizeName = Literal["square_hd", "square", "portrait_4_3", "portrait_16_9", "landscape_4_3", "landscape_16_9"]


class Size(PlainRequest):
    """A size in pixels."""

    width: int
    height: int


class Arguments(PlainRequest):
    """What is to be drawn. What it has beside this is ignored."""

    prompt: Annotated[str, Field(min_length=MIN_CHARS, max_length=MAX_CHARS), Fold]
    image_size: SizeName | Size | None = None
    seed: Annotated[int | None, Field(ge=0, le=2**32 - 1)] = None
    num_images: Annotated[int | None, Field(ge=1, le=MAX_IMAGES)] = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    negative_prompt: str | None = None
    image_url: str | None = None
    output_format: Literal["png", "jpeg", "webp"] | None = None
    sync_mode: bool | None = None

    def asked(self, entry: Entry) -> Asked:
        """Return what is to be drawn.

        Raises:
            InputInvalid: something is asked for that would not be drawn.

        """
        check_fixed(
            entry,
            steps={"num_inference_steps": self.num_inference_steps},
            guidance={"guidance_scale": self.guidance_scale},
        )
        refuse(
            negative_prompt=NO_NEGATIVE_PROMPT if self.negative_prompt else None,
            image_url=NO_IMAGE if self.image_url else None,
        )
        width_px, height_px = self._size_px
        wish = Wish(width_px=width_px, height_px=height_px, model_key=entry.key)
        return Asked("fal", self.prompt, wish, self.seed, self.num_images or 1)

    @property
    def _size_px(self) -> tuple[int | None, int | None]:
        if isinstance(self.image_size, Size):
            return self.image_size.width, self.image_size.height
        return (None, None) if self.image_size is None else SIZES_PX[self.image_size]


class ImageShape(PlainView):
    """An image."""

    url: str
    width: int
    height: int
    content_type: str


class ResultShape(PlainView):
    """What was drawn. seed: of the first image; the next ones have the following numbers."""

    images: list[ImageShape]
    timings: dict[str, float]
    seed: int
    has_nsfw_concepts: list[bool]
    prompt: str

    @classmethod
    def of(cls, ticket: Ticket, addresses: list[str]) -> "ResultShape":
        """Return the result of a request. Nothing here looks for what is not safe for work."""
        order = ticket.first.order
        kind = f"image/{ticket.kind}"
        return cls(
            images=[
                ImageShape(url=url, width=order.width_px, height=order.height_px, content_type=kind)
                for url in addresses
            ],
            timings={} if ticket.seconds is None else {"inference": ticket.seconds},
            seed=order.seed,
            has_nsfw_concepts=[False] * len(addresses),
            prompt=ticket.first.prompt,
        )


def urls_of(base: str, request_id: str) -> dict[str, str]:
    """Return where a client asks for its request. base: of the model, in the queue."""
    url = f"{base}/requests/{request_id}"
    return {"response_url": url, "status_url": f"{url}/status", "cancel_url": f"{url}/cancel"}


def status_of(ticket: Ticket, base: str) -> dict[str, Any]:
    """Return how far a request is. Its clients insist on `logs`."""
    progress = ticket.progress
    shape: dict[str, Any] = {"request_id": ticket.id, **urls_of(base, ticket.id), "logs": []}
    if ticket.stage is Stage.QUEUED:
        place = progress.queue_position if progress else None
        return shape | {"status": "IN_QUEUE", "queue_position": max(0, (place or 1) - 1)}
    if not ticket.has_ended:
        return shape | {"status": "IN_PROGRESS", "logs": _logs(ticket)}
    shape |= {"status": "COMPLETED", "metrics": {}}
    if ticket.seconds is not None:
        shape["metrics"] = {"inference_time": ticket.seconds}
    if ticket.stage is not Stage.SUCCEEDED and (failed := ticket.failed) is not None:
        shape |= {"error": failed.error_message, "error_type": failed.error_code}
    return shape


def _logs(ticket: Ticket) -> list[dict[str, str]]:
    progress = ticket.progress
    if progress is None or not progress.step:
        return []
    return [{"message": f"step {progress.step} of {progress.steps}", "level": "INFO", "source": "USER"}]
