"""Errors in fal's shape."""

import json
from typing import Any, Final

from litestar import Request, Response

from catalog.selection import SizeRejected, UnknownEntry
from server.errors import DomainError
from server.http.envelope import known_as, log_error
from server.http.errors import Described, DrawingFailed, InputInvalid, describe

NOT_FOUND: Final = 404
UNPROCESSABLE: Final = 422


def answer_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer any exception as fal does. Its clients repeat 408, 409 and 429, and broken connections."""
    known = known_as(request, error)
    described = describe(known)
    log_error(request, known, described)
    status, detail = described.status, _detail(described)
    if isinstance(known, UnknownEntry):
        status, detail = NOT_FOUND, described.message
    elif isinstance(known, InputInvalid | SizeRejected):
        status = UNPROCESSABLE
    code = known.code if isinstance(known, DrawingFailed) else described.code
    headers = {} if described.retry_after_s is None else {"Retry-After": str(described.retry_after_s)}
    return _answer(status, detail, code, headers)


def shape_of(error: DomainError) -> bytes:
    """Return the body of an error that a stream ends with."""
    described = describe(error)
    code = error.code if isinstance(error, DrawingFailed) else described.code
    return _body(described.message, code)


def _detail(described: Described) -> Any:
    """Return what is wrong: in words, or for each field at fault."""
    if not described.details:
        return described.message
    return [
        {"loc": ["body", name], "msg": message, "type": described.code.lower()}
        for name, messages in described.details.items()
        for message in messages
    ]


def _answer(status: int, detail: Any, code: str, headers: dict[str, str]) -> Response[bytes]:
    return Response(_body(detail, code), status_code=status, headers=headers, media_type="application/json")


def _body(detail: Any, code: str) -> bytes:
    return json.dumps({"detail": detail, "error_type": code.lower()}).encode()
