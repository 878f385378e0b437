"""HEAD wherever there is GET: the same answer without its body."""

import asyncio
from collections.abc import Iterable
from typing import Final

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPReceiveMessage, HTTPScope, Message, Receive, Scope, Send

ALLOW: Final = b"allow"


class Heads:
    """Wraps the application: HEAD is handled as GET, and the answers to OPTIONS say so."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] == ScopeType.HTTP and scope["method"] == "HEAD":
            await self._headed(scope, receive, send)
        elif scope["type"] == ScopeType.HTTP and scope["method"] == "OPTIONS":
            await self._app(scope, receive, _with_head(send))
        else:
            await self._app(scope, receive, send)

    async def _headed(self, scope: HTTPScope, receive: Receive, send: Send) -> None:
        begun, ended = asyncio.Event(), False

        async def until_begun() -> HTTPReceiveMessage:
            """Tell a stream that its reader has left as soon as its headers are sent."""
            heard, sent = asyncio.ensure_future(receive()), asyncio.ensure_future(begun.wait())
            try:
                await asyncio.wait((heard, sent), return_when=asyncio.FIRST_COMPLETED)
                return heard.result() if heard.done() else {"type": "http.disconnect"}  # type: ignore[return-value]  # of an HTTP request
            finally:
                heard.cancel()
                sent.cancel()

        async def bodiless(message: Message) -> None:
            nonlocal ended
            if message["type"] == "http.response.start":
                scope["method"] = "HEAD"  # uvicorn looks here whether a body must follow
                await send(message)
                begun.set()
            elif message["type"] == "http.response.body" and not message.get("more_body", False):
                ended = True
                await send({"type": "http.response.body", "body": b"", "more_body": False})

        scope["method"] = "GET"
        try:
            await self._app(scope, until_begun, bodiless)
            if begun.is_set() and not ended:  # a stream whose reader has left may end without a last message
                await bodiless({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            scope["method"] = "HEAD"


def allow(methods: Iterable[str]) -> str:
    """Return the header Allow of a route that has these methods, beside those that every route has."""
    return ", ".join(sorted({*methods, "OPTIONS", *(("HEAD",) if "GET" in methods else ())}))


def _with_head(send: Send) -> Send:
    """Complete the header Allow of Litestar's own answers to OPTIONS."""

    async def allowing(message: Message) -> None:
        if message["type"] == "http.response.start":
            message["headers"] = [
                (name, allow(value.decode().split(", ")).encode() if name.lower() == ALLOW else value)
                for name, value in message["headers"]
            ]
        await send(message)

    return allowing
