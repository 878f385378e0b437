"""The route of Hugging Face's text to image: a prompt in, an image out."""

from typing import Any, Final

from litestar import Controller, Request, Response, post
from litestar.concurrency import sync_to_thread
from litestar.datastructures import Accept
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from server.dialects.drawing import draw
from server.dialects.formats import encoded
from server.dialects.huggingface.bodies import TextToImage
from server.dialects.names import entry_named
from server.dialects.refusing import Refusal
from server.http.errors import InputInvalid
from server.http.request import ApiRequest
from server.http.services import Services

TYPES: Final = {"image/png": "png", "image/jpeg": "jpeg", "image/webp": "webp"}
NOT_FOUND: Final = 404


def answer_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer any exception as Hugging Face does: its clients print `error`."""
    refusal = Refusal.of(request, error)
    body = {"error": refusal.described.message, "error_type": refusal.described.code}
    return refusal.answer(body, refusal.status)


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
        entry = await sync_to_thread(entry_named, services, repo.strip("/"))
        data.parameters.check(entry)
        [drawn], _ = await draw(services, request.user, data.asked(entry), request.receive, repeated=False)
        image = await sync_to_thread(encoded, drawn.png, TYPES[media_type])
        return Response(image, media_type=media_type)
