"""The contract's error envelope, for our own errors and the framework's alike."""

from collections import defaultdict
from typing import Any, Final
from uuid import uuid4

from litestar import Request, Response
from litestar.datastructures import State
from litestar.enums import ScopeType
from litestar.exceptions import (
    HTTPException,
    MethodNotAllowedException,
    NotFoundException,
    ValidationException,
)
from litestar.types import ASGIApp, Receive, Scope, Send
from litestar.types import Message as AsgiMessage

from server.auth.users import Caller
from server.clock import now, wire
from server.errors import BodyUnreadable, Bug, DatabaseAway, DomainError, EndpointNotFound, InputInvalid
from server.telemetry import get_log

log = get_log(__name__)

REQUEST_ID_HEADER: Final = "x-request-id"
UNAUTHORIZED: Final = 401
NOT_JSON: Final = "The request body is not valid JSON"
MAX_BODY_BYTES: Final = 65_536  # the longest legal request has under 20,000 characters


class ApiRequest(Request[Caller, None, State]):
    """A request of a known caller, whose body is called unreadable whyever it cannot be decoded."""

    async def json(self) -> Any:
        """Return the decoded body.

        Raises:
            BodyUnreadable: it is not UTF-8, or nested too deeply.

        """
        try:
            return await super().json()
        except (UnicodeDecodeError, RecursionError) as error:
            raise BodyUnreadable(NOT_JSON) from error


def refuse_nul(app: ASGIApp) -> ASGIApp:
    """Find nothing behind a path with a NUL in it: no id has one, and PostgreSQL takes none."""

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP and "\0" in scope["path"]:
            raise EndpointNotFound(scope["method"], scope["path"])
        await app(scope, receive, send)

    return middleware


async def tell_request_id(message: AsgiMessage, scope: Scope) -> None:
    """Give every answer the id of its request, whichever layer answers."""
    if message["type"] == "http.response.start":
        header = (REQUEST_ID_HEADER.encode(), _request_id(scope).encode())
        message["headers"] = [*message["headers"], header]


def answer_error(request: Request[Any, Any, Any], error: Exception) -> Response[dict[str, Any]]:
    """Answer any exception in the contract's shape."""
    known = _as_domain_error(request, error)
    request_id = _request_id(request.scope)
    if isinstance(known, Bug):
        log.error("request.failed", request_id=request_id, path=request.url.path, exc_info=error)
    if isinstance(known, DatabaseAway):
        cause = getattr(error.__cause__, "orig", None)
        log.error("request.database_away", request_id=request_id, path=request.url.path, cause=str(cause))
    body: dict[str, Any] = {"message": str(known), "code": known.code, "statusCode": known.status}
    if known.field:
        body["field"] = known.field
    if known.details:
        body["details"] = known.details
    headers = {}
    if known.retry_after_s is not None:
        body |= {"retryable": True, "retryAfter": known.retry_after_s}
        headers["Retry-After"] = str(known.retry_after_s)
    if known.status == UNAUTHORIZED:
        headers["WWW-Authenticate"] = "Bearer"
    return Response(
        {"success": False, "error": body, "timestamp": wire(now()), "requestId": request_id},
        status_code=known.status,
        headers=headers,
        media_type="application/json",
    )


def _request_id(scope: Scope) -> str:
    request_id: str = scope["state"].setdefault("request_id", uuid4().hex)
    return request_id


def _as_domain_error(request: Request[Any, Any, Any], error: Exception) -> DomainError:
    match error:
        case DomainError():
            return error
        case ValidationException():
            return _as_input_error(error)
        case NotFoundException() | MethodNotAllowedException():
            return EndpointNotFound(request.method, request.url.path)
        case HTTPException(status_code=413):
            return BodyUnreadable(f"The request body must be at most {MAX_BODY_BYTES} bytes")
        case HTTPException(status_code=400 | 415 | 422):
            return BodyUnreadable(NOT_JSON)
        case _:
            return Bug()


def _as_input_error(error: ValidationException) -> DomainError:
    """Name every field at fault, in the client's spelling and without the value that it sent."""
    problems: dict[str, list[str]] = defaultdict(list)
    for problem in error.extra if isinstance(error.extra, list) else []:
        # A key is a path such as `personaPersonality.3`; for the body itself it is the handler's `data`.
        path = str(problem.get("key") or "").removeprefix("data").removeprefix(".")
        if path:
            problems[path.split(".")[0]].append(f"{path}: {problem.get('message', 'is not valid')}")
    return (
        InputInvalid(dict(problems)) if problems else BodyUnreadable("The request body must be a JSON object")
    )
