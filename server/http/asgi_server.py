"""The HTTP server of the API process: uvicorn, which does not wait for streams when it stops."""

import asyncio
import socket
from contextlib import suppress
from typing import Final

import uvicorn

from server.http.event_feed import EventFeed

FLUSH_S: Final = 0.5  # for a client that reads, time enough to receive the end of its stream
_STREAMS: Final = "/events"


class ApiServer(uvicorn.Server):
    """Ends its streams before it waits for the open requests to finish.

    Uvicorn tells the application that it stops only after all requests have finished: a stream never does.
    """

    def __init__(self, config: uvicorn.Config, feed: EventFeed) -> None:
        super().__init__(config)
        self._feed = feed

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, drop those whose clients read nothing, and stop as usual."""
        self._feed.stop()
        dropping = asyncio.create_task(self._drop_stuck_streams())
        try:
            await super().shutdown(sockets)
        finally:
            dropping.cancel()
            with suppress(asyncio.CancelledError):
                await dropping

    async def _drop_stuck_streams(self) -> None:
        await asyncio.sleep(FLUSH_S)
        for connection in list(self.server_state.connections):
            scope, flow = getattr(connection, "scope", None), getattr(connection, "flow", None)
            if scope and flow and flow.write_paused and scope["path"].endswith(_STREAMS):
                connection.transport.abort()
