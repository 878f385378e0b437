"""The HTTP server of the API process: uvicorn with bounds, which does not wait for streams at its stop."""

import asyncio
import socket
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

import uvicorn
from litestar import Litestar

from server.http.bounded_protocol import BoundedProtocol
from server.http.connections import Connections, affordable
from server.logs import get_log
from server.settings import Settings

log = get_log(__name__)

FLUSH_S: Final = 0.5  # for a client that reads, time enough to receive the end of its stream
CHECK_S: Final = 0.5
LOG_EVERY: Final = 20
"""After so many checks what was refused is logged, in one line: attackers are many."""
_STREAMS: Final = "/events"


class ApiServer(uvicorn.Server):
    """Bounds what each connection may take, and ends its streams before it waits for the open requests.

    Uvicorn tells the application that it stops only after all requests have finished: a stream never does.
    """

    def __init__(self, app: Litestar, settings: Settings, grace_s: int) -> None:
        bounds, proxies = settings.edge, settings.server.trusted_proxies
        self._places = Connections(
            affordable(bounds.max_connections), bounds.max_connections_per_address, proxies
        )
        super().__init__(
            uvicorn.Config(
                app,
                http=partial(BoundedProtocol, bounds=bounds, places=self._places),  # type: ignore[arg-type]  # a factory
                log_config=None,
                access_log=False,
                server_header=False,
                # Unset, uvicorn would trust loopback, or what FORWARDED_ALLOW_IPS names.
                proxy_headers=bool(proxies),
                forwarded_allow_ips=list(proxies),
                timeout_graceful_shutdown=grace_s,
                ws="none",  # there is no WebSocket; uvicorn would log the path and query of each attempt
            )
        )
        self._feed = app.state.feed
        self._max_unread_bytes = bounds.max_unread_bytes
        self._checking: asyncio.Task[None] | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start as usual, and check the connections from now on."""
        await super().startup(sockets)
        self._checking = asyncio.create_task(self._check())

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, drop those whose clients read nothing, and stop as usual."""
        self._feed.stop()
        dropping = asyncio.create_task(self._drop_stuck_streams())
        try:
            await super().shutdown(sockets)
        finally:
            for task in (dropping, self._checking):
                if task is not None:
                    task.cancel()
                    with suppress(asyncio.CancelledError):
                        await task

    async def _check(self) -> None:
        """Drop the connections that are too slow, and of those whose answers fill the memory the largest."""
        rounds = 0
        while True:
            await asyncio.sleep(CHECK_S)
            rounds += 1
            connections = self._connections()
            now = asyncio.get_running_loop().time()
            for connection in connections:
                try:
                    connection.check(now)
                except Exception:
                    log.exception("http.check_failed")
                    connection.drop()
            self._drop_largest(connections)
            if rounds % LOG_EVERY == 0 and self._places.refused:
                log.info("http.refused", **self._places.refused)
                self._places.refused.clear()

    def _drop_largest(self, connections: Sequence[BoundedProtocol]) -> None:
        unread_bytes = sum(connection.unread_bytes for connection in connections)
        if unread_bytes <= self._max_unread_bytes:
            return
        for connection in sorted(connections, key=lambda one: one.unread_bytes, reverse=True):
            if unread_bytes <= self._max_unread_bytes:
                return
            unread_bytes -= connection.unread_bytes
            self._places.refused["answers_not_read"] += 1
            connection.drop()

    async def _drop_stuck_streams(self) -> None:
        await asyncio.sleep(FLUSH_S)
        for connection in self._connections():
            scope: Any = connection.scope
            if scope and connection.flow.write_paused and scope["path"].endswith(_STREAMS):
                connection.drop()

    def _connections(self) -> list[BoundedProtocol]:
        return [one for one in self.server_state.connections if isinstance(one, BoundedProtocol)]
