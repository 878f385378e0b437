"""The route of Hugging Face's text to image: a prompt in, an image out."""

import json
from typing import Any, Final

from litestar import Controller, Request, Response, post
from litestar.concurrency import sync_to_thread
from litestar.datastructures import Accept
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from catalog.entries import APP_ID, Entry
from catalog.selection import UnknownEntry
from server.dialects.drawing import draw
from server.dialects.formats import encoded
from server.dialects.huggingface.bodies import TextToImage
from server.entries import service as entries
from server.http.envelope import known_as, log_error
from server.http.errors import InputInvalid, describe
from server.http.request import ApiRequest
from server.http.services import Services

TYPES: Final = {"image/png": "png", "image/jpeg": "jpeg", "image/webp": "webp"}
NOT_FOUND: Final = 404


def answer_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer any exception as Hugging Face does: its clients print `error`."""
    known = known_as(request, error)
    described = describe(known)
    log_error(request, known, described)
    headers = {} if described.retry_after_s is None else {"Retry-After": str(described.retry_after_s)}
    return Response(
        json.dumps({"error": described.message, "error_type": described.code}).encode(),
        status_code=NOT_FOUND if isinstance(known, UnknownEntry) else described.status,
        headers=headers,
        media_type="application/json",
    )


class HuggingFaceController(Controller):
    """Draw while the client waits."""

    path = "/models"
    include_in_schema = False  # Hugging Face describes it, and its errors have another shape
    exception_handlers = {Exception: answer_error}  # noqa: RUF012  # read by Litestar as it is

    @post("/{repo:path}", status_code=200, rate_limit="generate")
    async def text_to_image(
        self,
        repo: FromPath[str],
        data: JSONBody[TextToImage],
        request: ApiRequest,
        services: NamedDependency[Services],
    ) -> Response[bytes]:
        """Draw one image and answer with its bytes. repo: an entry, or the model or adapter of one."""
        media_type = Accept(request.headers.get("accept", "*/*")).best_match([*TYPES])
        if media_type is None:
            raise InputInvalid({"Accept": [f"Accept must allow one of {', '.join(TYPES)}"]})
        entry = await sync_to_thread(_meant, services, repo.strip("/"))
        data.parameters.check(entry)
        [drawn], _ = await draw(services, request.user, data.asked(entry), request.receive, repeated=False)
        image = await sync_to_thread(encoded, drawn.png, TYPES[media_type])
        return Response(image, media_type=media_type)


def _meant(services: Services, repo: str) -> Entry:
    """Return the entry of a key, or the cheapest that draws with a model alone, or with an adapter.

    Raises:
        UnknownEntry: there is none that is on offer.

    """
    on_offer = sorted(
        (entry for entry in entries.examine(services.uow)[0] if entry.enabled),
        key=lambda entry: (entry.credit_cost, entry.key),
    )
    for entry in on_offer:
        if repo.removeprefix(f"{APP_ID}:") == entry.short_key:
            return entry
    for entry in on_offer:
        if repo == (entry.adapter.model_id if entry.adapter else entry.model_id):
            return entry
    raise UnknownEntry(repo, tuple(entry.short_key for entry in on_offer))
