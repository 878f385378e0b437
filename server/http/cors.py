"""Cross-origin resource sharing: which front ends may read the answers.

Litestar's own has a wildcard that spans several labels, and answers a refused preflight with plain text.
"""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from server.http.request import headers_named

ANY: Final = "*"
LABEL: Final = "[a-z0-9_-]+"
"""What a wildcard in an origin stands for: one label of a host name."""
VARY: Final = (b"vary", b"Origin")
CREDENTIALS: Final = (b"access-control-allow-credentials", b"true")
_READABLE: Final = (
    b"X-RateLimit-Limit",
    b"X-RateLimit-Remaining",
    b"X-RateLimit-Reset",
    b"Retry-After",
    b"X-Request-Id",
    b"Idempotency-Replayed",
)
EXPOSED: Final = (b"access-control-expose-headers", b", ".join(_READABLE))
PREFLIGHT: Final = (
    (b"access-control-allow-methods", b"GET, POST, PUT, DELETE"),
    (
        b"access-control-allow-headers",
        b"Authorization, Content-Type, Idempotency-Key, X-Request-Id, Last-Event-ID",
    ),
    (b"access-control-max-age", b"600"),
)


class Cors:
    """Wraps the whole application, so that a page can read its errors too."""

    def __init__(self, app: ASGIApp, origins: Iterable[str]) -> None:
        self._app = app
        origins = tuple(origins)
        self._any = ANY in origins
        self._allowed = re.compile("|".join(map(_pattern, origins)), re.IGNORECASE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight of an allowed origin, and add the headers to all other answers."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        headers = [VARY, *self._permission(next(headers_named(scope, b"origin"), None))]
        if len(headers) > 1 and _is_preflight(scope):
            await send({"type": "http.response.start", "status": 204, "headers": [*headers, *PREFLIGHT]})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *headers]
            await send(message)

        await self._app(scope, receive, with_headers)

    def _permission(self, origin: bytes | None) -> Iterator[tuple[bytes, bytes]]:
        if origin is None:
            return
        if self._any:  # browsers take no credentials with this
            yield b"access-control-allow-origin", b"*"
            yield EXPOSED
        elif self._allowed.fullmatch(origin.decode("latin-1")):
            yield b"access-control-allow-origin", origin
            yield CREDENTIALS
            yield EXPOSED


def _pattern(origin: str) -> str:
    return re.escape(origin).replace(re.escape(ANY), LABEL)


def _is_preflight(scope: HTTPScope) -> bool:
    asked = next(headers_named(scope, b"access-control-request-method"), None)
    return scope["method"] == "OPTIONS" and asked is not None
