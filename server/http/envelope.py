"""The contract's error envelope, for our own errors and the framework's alike."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Any, Final

from litestar import Request, Response
from litestar.exceptions import (
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
    ValidationException,
)
from pydantic.alias_generators import to_camel

from server.clock import now, wire
from server.errors import DatabaseAway, DomainError
from server.http.errors import BUG, BodyUnreadable, Described, EndpointNotFound, InputInvalid, describe
from server.http.request import MAX_BODY_BYTES, NOT_JSON, request_id_of
from server.logs import get_log

log = get_log(__name__)

UNAUTHORIZED: Final = 401


def answer_error(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    """Answer any exception in the contract's shape."""
    known = _as_known(request, error)
    described = describe(known)
    _log(request, known, described)
    headers = {}
    if described.retry_after_s is not None:
        headers["Retry-After"] = str(described.retry_after_s)
    if described.status == UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(
        {
            "success": False,
            "error": _body(described),
            "timestamp": wire(now()),
            "requestId": request_id_of(request.scope),
        },
        status_code=described.status,
        headers=headers,
        media_type="application/json",
    )


def _body(described: Described) -> dict[str, Any]:
    body: dict[str, Any] = {
        "message": described.message,
        "code": described.code,
        "statusCode": described.status,
    }
    if described.field:
        body |= {"field": described.field, "details": described.details}
    if described.retry_after_s is not None:
        body |= {"retryable": True, "retryAfter": described.retry_after_s}
    return body


def _log(request: Request[Any, Any, Any], error: Exception, described: Described) -> None:
    where = {"request_id": request_id_of(request.scope), "path": request.url.path}
    if (described.status, described.code) == BUG:
        log.error("request.failed", **where, exc_info=error)
    if isinstance(error, DatabaseAway):
        log.error("request.database_away", **where, cause=str(getattr(error.__cause__, "orig", None)))


def _as_known(request: Request[Any, Any, Any], error: Exception) -> Exception:
    """Return the framework's own exceptions as ours, and any other as it is."""
    match error:
        case ValidationException():
            return _as_input_error(error)
        case NotFoundException() | MethodNotAllowedException():
            return EndpointNotFound(request.method, request.url.path)
        case HTTPException(status_code=413):
            return BodyUnreadable(f"The request body must be at most {MAX_BODY_BYTES} bytes")
        case HTTPException(status_code=400 | 415 | 422):
            return BodyUnreadable(NOT_JSON)
        case _:
            return error


def _spelling(problem: Mapping[str, Any]) -> str:
    """Return the key of a problem as clients spell it: Litestar names parameters as the handlers do."""
    key = str(problem.get("key") or "")
    match problem.get("source"):
        case "query":
            return to_camel(key)
        case "header":
            return key.replace("_", "-").title()
        case _:
            return key


def _as_input_error(error: ValidationException) -> DomainError:
    """Name every field at fault, in the client's spelling and without the value that it sent."""
    problems: dict[str, list[str]] = defaultdict(list)
    for problem in error.extra if isinstance(error.extra, list) else []:
        # A key is a path such as `personaPersonality.3`; for the body itself it is the handler's `data`.
        path = _spelling(problem).removeprefix("data").removeprefix(".")
        if path:
            problems[path.split(".")[0]].append(f"{path}: {problem.get('message', 'is not valid')}")
    return (
        InputInvalid(dict(problems)) if problems else BodyUnreadable("The request body must be a JSON object")
    )
