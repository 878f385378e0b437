"""Errors in the shape in which Open WebUI looks for words, and in A1111's own."""

import json
from typing import Any, Final

from litestar import Request, Response

from catalog.selection import UnknownEntry
from server.http.envelope import known_as, log_error
from server.http.errors import describe

NOT_FOUND: Final = 404
UNAUTHORIZED: Final = 401


def answer_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer any exception."""
    known = known_as(request, error)
    described = describe(known)
    log_error(request, known, described)
    status = NOT_FOUND if isinstance(known, UnknownEntry) else described.status
    headers = {} if described.retry_after_s is None else {"Retry-After": str(described.retry_after_s)}
    if status == UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Basic"
    body = {
        "error": {"message": described.message, "type": described.code},
        "detail": described.message,
    }
    return Response(
        json.dumps(body).encode(), status_code=status, headers=headers, media_type="application/json"
    )
