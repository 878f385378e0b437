"""The contract's error envelope, for our own errors and the framework's alike."""

import json
import re
from collections import defaultdict
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from litestar import Request, Response
from litestar.exceptions import (
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
    ValidationException,
)
from pydantic import Field
from pydantic.alias_generators import to_camel

from server.clock import now
from server.errors import DatabaseAway, DomainError
from server.http.bodies import View, WireTime
from server.http.errors import (
    BUG,
    BodyUnreadable,
    Described,
    EndpointNotFound,
    InputInvalid,
    MethodNotAllowed,
    describe,
)
from server.http.heads import allow
from server.http.request import MAX_BODY_BYTES, NOT_JSON, request_id_of
from server.logs import get_log

log = get_log(__name__)

UNAUTHORIZED: Final = 401
TOO_LARGE: Final = 413
UNREADABLE: Final = (400, 415, 422)
CAUSES: Final = {
    "client disconnected prematurely": "The request body ended too early",
    "Invalid host header": "The header Host is not valid",
}
"""What is wrong with a request, by the detail of the framework's exception. Source: litestar 2.25."""
MISSING: Final = re.compile(
    r"Missing required (\w+) parameter '([\w-]+)'"
)  # Source: litestar._kwargs.extractors


def _absent(value: object) -> bool:
    return value is None


class ErrorInside(View):
    """What went wrong. field: the first at fault. details: the messages of each field at fault.

    retry_after: in seconds.
    """

    message: str
    code: str
    status_code: int
    field: Annotated[str | None, Field(exclude_if=_absent)] = None
    details: Annotated[dict[str, list[str]] | None, Field(exclude_if=_absent)] = None
    retryable: Annotated[bool | None, Field(exclude_if=_absent)] = None
    retry_after: Annotated[int | None, Field(exclude_if=_absent)] = None

    @classmethod
    def of(cls, described: Described) -> Self:
        """Return an error as clients read it. Unchecked: it may quote text that is not valid Unicode."""
        return cls.model_construct(
            message=described.message,
            code=described.code,
            status_code=described.status,
            field=described.field,
            details=dict(described.details) or None,
            retryable=None if described.retry_after_s is None else True,
            retry_after=described.retry_after_s,
        )


class ErrorAnswer(View):
    """The answer to a request that failed."""

    success: Literal[False] = False
    message: str
    error: ErrorInside
    timestamp: WireTime
    request_id: str


def answer_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer any exception in the contract's shape."""
    known = known_as(request, error)
    described = describe(known)
    log_error(request, known, described)
    headers = {}
    if described.retry_after_s is not None:
        headers["Retry-After"] = str(described.retry_after_s)
    if isinstance(known, MethodNotAllowed):
        headers["Allow"] = known.allowed
    if described.status == UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(
        envelope(described, request_id_of(request.scope)),
        status_code=described.status,
        headers=headers,
        media_type="application/json",
    )


def envelope(described: Described, request_id: str) -> bytes:
    """Return the body of an error's answer."""
    answer = ErrorAnswer.model_construct(
        message=described.message,
        error=ErrorInside.of(described),
        timestamp=now(),
        request_id=request_id,
    )
    # In ASCII: a message may quote text that is not valid Unicode.
    return json.dumps(answer.model_dump(by_alias=True)).encode()


def log_error(request: Request[Any, Any, Any], error: Exception, described: Described) -> None:
    """Log what an operator has to know of an error."""
    route = request.scope.get("path_template")
    if (described.status, described.code) == BUG:
        log.error("request.failed", route=route, exc_info=error)
    if isinstance(error, DatabaseAway):
        log.error("request.database_away", route=route, cause=str(getattr(error.__cause__, "orig", None)))


def known_as(request: Request[Any, Any, Any], error: Exception) -> Exception:
    """Return the framework's own exceptions as ours, and any other as it is."""
    match error:
        case ValidationException():
            return _as_input_error(error)
        case NotFoundException():
            return EndpointNotFound(request.method, request.scope["path"])
        case MethodNotAllowedException():
            allowed = allow((error.headers or {})["allow"].split(", "))
            return MethodNotAllowed(request.method, request.scope["path"], allowed)
        case HTTPException():
            cause = _cause(request, error)
            return error if cause is None else BodyUnreadable(cause)
        case _:
            return error


def _cause(request: Request[Any, Any, Any], error: HTTPException) -> str | None:
    """Return why the framework could not read a request; None if that is not what went wrong."""
    if error.status_code == TOO_LARGE:
        return f"The request body must be at most {_max_body_bytes(request)} bytes"
    return CAUSES.get(error.detail, NOT_JSON if error.status_code in UNREADABLE else None)


def _max_body_bytes(request: Request[Any, Any, Any]) -> int:
    limit = request.route_handler.resolve_request_max_body_size()
    return limit if isinstance(limit, int) else MAX_BODY_BYTES


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
    if missing := MISSING.match(error.detail):
        name = _spelling({"source": missing[1], "key": missing[2]})
        problems[name].append(f"{name}: is required")
    for problem in error.extra if isinstance(error.extra, list) else []:
        # A key is a path such as `personaPersonality.3`; for the body itself it is the handler's `data`.
        path = _spelling(problem).removeprefix("data").removeprefix(".")
        if path:
            problems[path.split(".")[0]].append(f"{path}: {problem.get('message', 'is not valid')}")
    return (
        InputInvalid(dict(problems)) if problems else BodyUnreadable("The request body must be a JSON object")
    )
