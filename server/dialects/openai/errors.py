"""Errors in OpenAI's shape."""

import json
from typing import Any, Final

from litestar import Request, Response

from catalog.selection import UnknownEntry
from server.credits.errors import InsufficientCredits
from server.dialects.openai.bodies import ErrorShape
from server.dialects.refusing import Refusal
from server.errors import DomainError
from server.http.errors import Described, DrawingFailed, describe

PARAMS: Final = {"modelKey": "model", "width": "size", "height": "size"}
TYPES: Final = {
    400: "invalid_request_error",
    401: "invalid_request_error",
    402: "insufficient_quota",
    403: "invalid_request_error",
    404: "invalid_request_error",
    405: "invalid_request_error",
    409: "invalid_request_error",
    429: "rate_limit_exceeded",
}
CODES: Final = {401: "invalid_api_key", 402: "insufficient_quota", 429: "rate_limit_exceeded"}


def answer_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer any exception as OpenAI does. By default its clients repeat 408, 409, 429 and 5xx."""
    refusal = Refusal.of(request, error)
    known, described = refusal.error, refusal.described
    code = CODES.get(described.status, described.code.lower())
    if isinstance(known, UnknownEntry):  # which OpenAI's clients know as NotFoundError
        code = "model_not_found"
    if isinstance(known, DrawingFailed):
        code = known.code.lower()
    headers = {}
    if isinstance(known, DrawingFailed | InsufficientCredits):
        headers["x-should-retry"] = "false"  # what failed was tried as often as it may be
    return refusal.answer(_body(described, refusal.status, code), refusal.status, headers)


def shape_of(error: DomainError) -> bytes:
    """Return the body of an error that a stream ends with."""
    described = describe(error)
    code = error.code if isinstance(error, DrawingFailed) else described.code
    return _body(described, described.status, code.lower())


def _body(described: Described, status: int, code: str) -> bytes:
    param = described.field and PARAMS.get(described.field, described.field)
    shape = ErrorShape.model_construct(
        message=described.message, type=TYPES.get(status, "server_error"), param=param, code=code
    )
    return json.dumps({"error": shape.model_dump()}).encode()
