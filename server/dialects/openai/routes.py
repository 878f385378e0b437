"""The routes of OpenAI's API of images."""

import base64
import time
from collections.abc import Iterator
from typing import Annotated, Final

from litestar import Controller, get, post
from litestar.background_tasks import BackgroundTask
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from litestar.params import FromPath, HeaderParameter, JSONBody
from litestar.response.base import ASGIResponse

from catalog.entries import APP_ID, Entry
from catalog.selection import UnknownEntry
from server.caller import Caller
from server.dialects.addresses import base_of, image_address
from server.dialects.asking import note_answered
from server.dialects.drawing import Drawn, draw
from server.dialects.formats import encoded
from server.dialects.openai.bodies import (
    GenerateImages,
    ImageShape,
    ImagesShape,
    ModelShape,
    ModelsShape,
    Usage,
)
from server.dialects.openai.errors import answer_error
from server.dialects.openai.stream import PartialImageStream
from server.entries import service as entries
from server.http.errors import InputInvalid
from server.http.request import ApiRequest
from server.http.services import Services

RELEASED: Final = 1_722_470_400  # 1 August 2024, when FLUX.1 was published

RetryCount = Annotated[
    int, HeaderParameter(name="X-Stainless-Retry-Count", ge=0, description="How often this was sent before.")
]
"""Source: openai 3.57, `_base_client.py`: its clients of all languages send it with each request."""


class OpenAIController(Controller):
    """Draw while the client waits, and list what can draw."""

    path = "/v1"
    include_in_schema = False  # OpenAI describes it, and its errors have another shape
    exception_handlers = {Exception: answer_error}  # noqa: RUF012  # read by Litestar as it is

    @post("/images/generations", status_code=200, rate_limit="generate")
    async def generate(
        self,
        data: JSONBody[GenerateImages],
        request: ApiRequest,
        services: NamedDependency[Services],
        retries: RetryCount = 0,
    ) -> ASGIResponse:
        """Draw images, and answer when they are drawn, or with a stream. What fails costs nothing."""
        if data.stream and data.n not in (None, 1):
            raise InputInvalid({"n": ["n: must be 1 with stream"]})
        model_key, repeated = _meant(data.model, services), retries > 0
        if data.stream:
            return PartialImageStream(services, request.user, data, model_key, repeated=repeated)
        drawn, record_id = await draw(
            services, request.user, data.asked(model_key), request.receive, repeated=repeated
        )
        images = await sync_to_thread(_images, data, drawn, request, services)
        return ASGIResponse(
            body=images.model_dump_json(),
            media_type="application/json",
            background=BackgroundTask(sync_to_thread, note_answered, services, [record_id]),
        )

    @get("/models", sync_to_thread=True)
    def list_models(self, request: ApiRequest, services: NamedDependency[Services]) -> ModelsShape:
        """List the entries that the caller may use, and the names that mean them here."""
        return ModelsShape(data=list(_models(services, request.user)))

    @get("/models/{model:str}", sync_to_thread=True)
    def read_model(
        self, model: FromPath[str], request: ApiRequest, services: NamedDependency[Services]
    ) -> ModelShape:
        """Return one of them."""
        models = {one.id: one for one in _models(services, request.user)}
        found = models.get(model.removeprefix(f"{APP_ID}:"))
        if found is None:
            raise UnknownEntry(model, tuple(models))
        return found


def _meant(model: str | None, services: Services) -> str | None:
    return model if model is None else services.settings.openai.models.get(model, model)


def _models(services: Services, caller: Caller) -> Iterator[ModelShape]:
    within_reach: dict[str, Entry] = {
        entry.short_key: entry for entry in entries.within_reach(services.uow, caller.tier)
    }
    names = {key: key for key in within_reach}
    names |= {
        alias: meant.removeprefix(f"{APP_ID}:") for alias, meant in services.settings.openai.models.items()
    }
    for name, meant in names.items():
        if meant in within_reach:
            yield ModelShape(id=name, created=RELEASED, owned_by=within_reach[meant].provider)


def _images(data: GenerateImages, drawn: list[Drawn], request: ApiRequest, services: Services) -> ImagesShape:
    base, kind = base_of(request), data.output_format or "png"
    shapes = [
        ImageShape(
            b64_json=None
            if data.response_format == "url"
            else base64.b64encode(encoded(one.png, kind, data.compression)).decode(),
            url=None if data.response_format == "b64_json" else image_address(services, base, one.image_key),
        )
        for one in drawn
    ]
    order = drawn[0].generation.order
    return ImagesShape(
        created=int(time.time()),
        data=shapes,
        output_format=kind,
        quality=data.quality,
        size=f"{order.width_px}x{order.height_px}",
        usage=Usage.of(sum(one.credits for one in drawn)),
    )
