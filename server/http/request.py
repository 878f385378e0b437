"""Requests: their bodies, their ids, and targets that nothing can be behind."""

import json
import re
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import parse_qsl
from uuid import uuid4

from litestar import Request
from litestar.datastructures import State
from litestar.enums import ScopeType
from litestar.exceptions import SerializationException
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from server.caller import Caller
from server.http.errors import BodyUnreadable, EndpointNotFound, InputInvalid

REQUEST_ID_HEADER: Final = b"x-request-id"
REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,64}")
NOT_JSON: Final = "The request body is not valid JSON"
MAX_BODY_BYTES: Final = 65_536  # the longest legal request has under 20,000 characters
NO_STORE: Final = (b"cache-control", b"no-store")


class ApiRequest(Request[Caller, None, State]):
    """A request of a known caller. A body that is not exactly one JSON value raises BodyUnreadable."""

    async def json(self) -> Any:
        """Return the decoded body.

        Raises:
            BodyUnreadable: it is not JSON in UTF-8, nested too deeply, or has an object that repeats a name.

        """
        try:
            decoded = await super().json()
            # The framework's decoder takes the last of two equal names, and cannot be told otherwise.
            json.loads(await self.body() or b"null", object_pairs_hook=_without_repeats)
        except (SerializationException, ValueError, RecursionError) as error:
            raise BodyUnreadable(NOT_JSON) from error
        return decoded


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    decoded = dict(pairs)
    if len(decoded) != len(pairs):
        raise BodyUnreadable("An object in the request body has the same name twice")
    return decoded


def refuse_malformed_targets(app: ASGIApp) -> ASGIApp:
    """Refuse what no id and no parameter contains, and PostgreSQL cannot store: NUL and encoded slashes."""

    async def middleware(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == ScopeType.HTTP:
            # The path arrives decoded: an encoded slash in it would lead to another route.
            if "\0" in scope["path"] or b"%2f" in scope["raw_path"].partition(b"?")[0].lower():
                raise EndpointNotFound(scope["method"], scope["path"])
            if b"%00" in scope["query_string"]:
                raise InputInvalid(_nul_in_query(scope["query_string"]))
        await app(scope, receive, send)

    return middleware


def _nul_in_query(query: bytes) -> dict[str, list[str]]:
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    names = [name for name, value in pairs if "\0" in name + value]
    return {name.replace("\0", ""): ["The query must not contain the character NUL"] for name in names}


def headers_named(scope: Scope, name: bytes) -> Iterator[bytes]:
    """Yield the values of a header, whose name is in lower case."""
    return (value for key, value in scope["headers"] if key == name)


def request_id_of(scope: Scope) -> str:
    """Return the id of a request, the same at every call: the client's own if it is valid, else a new one."""
    state = scope["state"]
    if "request_id" not in state:
        sent = next(headers_named(scope, REQUEST_ID_HEADER), b"")
        state["request_id"] = sent.decode() if REQUEST_ID.fullmatch(sent) else uuid4().hex
    request_id: str = state["request_id"]
    return request_id


async def complete_headers(message: Message, scope: Scope) -> None:
    """Add the request's id to every answer; forbid caching to those that do not say otherwise."""
    if message["type"] == "http.response.start":
        headers = [*message["headers"], (REQUEST_ID_HEADER, request_id_of(scope).encode())]
        if all(name.lower() != b"cache-control" for name, _ in headers):
            headers.append(NO_STORE)
        message["headers"] = headers
