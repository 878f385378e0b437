"""Errors in Replicate's shape, a problem as in RFC 9457."""

from http import HTTPStatus
from typing import Any, Final

from litestar import Request, Response

from server.dialects.refusing import Refusal
from server.http.errors import InputInvalid

UNPROCESSABLE: Final = 422


def answer_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer any exception as Replicate does. Its clients repeat what only reads after 429, 503 and 504."""
    refusal = Refusal.of(request, error)
    status = UNPROCESSABLE if isinstance(refusal.error, InputInvalid) else refusal.status
    problem = {
        "title": HTTPStatus(status).phrase,
        "detail": refusal.described.message,
        "status": status,
        "code": refusal.described.code,
    }
    return refusal.answer(problem, status, media_type="application/problem+json")
