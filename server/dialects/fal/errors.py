"""Errors in fal's shape."""

import json
from typing import Any, Final

from litestar import Request, Response

from catalog.selection import SizeRejected, UnknownEntry
from server.dialects.refusing import Refusal
from server.errors import DomainError
from server.http.errors import Described, DrawingFailed, InputInvalid, describe

UNPROCESSABLE: Final = 422


def answer_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer any exception as fal does. Its clients repeat 408, 409 and 429, and broken connections."""
    refusal = Refusal.of(request, error)
    known, described = refusal.error, refusal.described
    status, detail = refusal.status, _detail(described)
    if isinstance(known, UnknownEntry):
        detail = described.message
    elif isinstance(known, InputInvalid | SizeRejected):
        status = UNPROCESSABLE
    return refusal.answer(_body(detail, _code(known, described)), status)


def shape_of(error: DomainError) -> bytes:
    """Return the body of an error that a stream ends with."""
    described = describe(error)
    return _body(described.message, _code(error, described))


def _detail(described: Described) -> Any:
    """Return what is wrong: in words, or for each field at fault."""
    if not described.details:
        return described.message
    return [
        {"loc": ["body", name], "msg": message, "type": described.code.lower()}
        for name, messages in described.details.items()
        for message in messages
    ]


def _code(error: Exception, described: Described) -> str:
    return error.code if isinstance(error, DrawingFailed) else described.code


def _body(detail: Any, code: str) -> bytes:
    return json.dumps({"detail": detail, "error_type": code.lower()}).encode()
