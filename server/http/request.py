"""Requests: their bodies, their ids, and paths that nothing can be behind."""

from typing import Any, Final
from uuid import uuid4

from litestar import Request
from litestar.datastructures import State
from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from server.caller import Caller
from server.http.errors import BodyUnreadable, EndpointNotFound

REQUEST_ID_HEADER: Final = "x-request-id"
NOT_JSON: Final = "The request body is not valid JSON"
MAX_BODY_BYTES: Final = 65_536  # the longest legal request has under 20,000 characters


class ApiRequest(Request[Caller, None, State]):
    """A request of a known caller. A body that cannot be decoded raises BodyUnreadable."""

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
    """Answer 404 for a path that contains NUL: no id does, and PostgreSQL rejects it."""

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP and "\0" in scope["path"]:
            raise EndpointNotFound(scope["method"], scope["path"])
        await app(scope, receive, send)

    return middleware


def request_id_of(scope: Scope) -> str:
    """Return the id of a request, the same at every call."""
    request_id: str = scope["state"].setdefault("request_id", uuid4().hex)
    return request_id


async def add_request_id(message: Message, scope: Scope) -> None:
    """Add the id of its request to every answer."""
    if message["type"] == "http.response.start":
        header = (REQUEST_ID_HEADER.encode(), request_id_of(scope).encode())
        message["headers"] = [*message["headers"], header]
