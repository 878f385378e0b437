"""Answers to clients that are still sending.

A server that closes a connection with unread bytes in it resets it, and the client loses the answer. So the
rest of the body is read and discarded before the answer ends. Source: nginx, `lingering_close`.
"""

import asyncio
from contextlib import suppress
from typing import Final

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPReceiveMessage, Message, Receive, Scope, Send

from server.http.request import headers_named

MAX_DISCARDED_BYTES: Final = 64 * 2**20  # a photograph from a telephone, several times over
LINGER_S: Final = 30.0  # Source: nginx, the default of lingering_time
QUIET_S: Final = 5.0  # Source: nginx, the default of lingering_timeout


class Lingering:
    """Wraps the whole application: any answer may come before its request is complete."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request, and read what its handler left unread."""
        if scope["type"] != ScopeType.HTTP or not _has_body(scope):
            await self._app(scope, receive, send)
            return
        unread = True

        async def followed() -> HTTPReceiveMessage:
            nonlocal unread
            message: HTTPReceiveMessage = await receive()  # type: ignore[assignment]  # of an HTTP request
            unread = message["type"] == "http.request" and message.get("more_body", False)
            return message

        async def lingering(message: Message) -> None:
            if unread and message["type"] == "http.response.start" and not _is_bounded(scope):
                message["headers"] = [*message["headers"], (b"connection", b"close")]
            if unread and message["type"] == "http.response.body" and not message.get("more_body", False):
                await send({**message, "more_body": True})
                await _discard(followed)
                message = {"type": "http.response.body", "body": b"", "more_body": False}
            await send(message)

        await self._app(scope, followed, lingering)


async def _discard(receive: Receive) -> None:
    discarded = 0
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_S):
            while discarded < MAX_DISCARDED_BYTES:
                async with asyncio.timeout(QUIET_S):
                    message = await receive()
                if message["type"] != "http.request" or not message.get("more_body", False):
                    return
                discarded += len(message.get("body", b""))


def _length(scope: Scope) -> int | None:
    """Return the announced length of the body in bytes; None if there is none."""
    announced = next(headers_named(scope, b"content-length"), b"")
    return int(announced) if announced.isdigit() else None


def _has_body(scope: Scope) -> bool:
    return bool(_length(scope)) or any(headers_named(scope, b"transfer-encoding"))


def _is_bounded(scope: Scope) -> bool:
    """Whether the client will send the rest of its body, and all of it can be read."""
    length = _length(scope)
    waits = any(headers_named(scope, b"expect"))  # for "100 Continue", which does not come
    return length is not None and length <= MAX_DISCARDED_BYTES and not waits
