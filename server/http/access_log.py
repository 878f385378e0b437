"""The access log: one line a request, and the request's id in all of its other lines."""

import time
from typing import Final

from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars

from server.http.request import request_id_of
from server.logs import get_log

log = get_log(__name__)

PROBES: Final = frozenset({"/healthz", "/readyz"})
"""Routes that machines ask every few seconds: their lines are for debugging only."""
UNANSWERED: Final = 500
"""The status of a request whose handling broke before an answer began, as uvicorn then answers it."""


class AccessLog:
    """Wraps the whole application, so that what is refused before the routing has its line too.

    A line names the route by its template. Paths have ids and signatures in them, and queries what clients
    put there; neither is logged.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request and log it."""
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        status = UNANSWERED

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        # Each request is a task with a context of its own: nothing has to be unbound.
        bind_contextvars(request_id=request_id_of(scope))
        try:
            await self._app(scope, receive, noted)
        finally:
            _write(scope, status, time.perf_counter() - began)


def _write(scope: HTTPScope, status: int, seconds: float) -> None:
    route, caller = scope.get("path_template"), scope.get("user")
    write = log.debug if route in PROBES else log.info
    write(
        "request.answered",
        method=scope["method"],
        route=route,
        status=status,
        seconds=round(seconds, 4),
        user_id=caller.user_id if caller else None,
    )
