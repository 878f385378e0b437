"""Errors in Replicate's shape, a problem as in RFC 9457."""

import json
from http import HTTPStatus
from typing import Any, Final

from litestar import Request, Response

from catalog.selection import UnknownEntry
from server.http.envelope import known_as, log_error
from server.http.errors import InputInvalid, describe

NOT_FOUND: Final = 404
UNPROCESSABLE: Final = 422


def answer_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer any exception as Replicate does. Its clients repeat what only reads after 429, 503 and 504."""
    known = known_as(request, error)
    described = describe(known)
    log_error(request, known, described)
    status = described.status
    if isinstance(known, UnknownEntry):
        status = NOT_FOUND
    if isinstance(known, InputInvalid):
        status = UNPROCESSABLE
    headers = {} if described.retry_after_s is None else {"Retry-After": str(described.retry_after_s)}
    problem = {
        "title": HTTPStatus(status).phrase,
        "detail": described.message,
        "status": status,
        "code": described.code,
    }
    return Response(
        json.dumps(problem).encode(),
        status_code=status,
        headers=headers,
        media_type="application/problem+json",
    )
