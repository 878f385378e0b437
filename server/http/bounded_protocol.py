"""The HTTP protocol of one connection, within bounds. uvicorn's holds whatever a client sends, for ever.

httptools collects a header until it ends and has no limits, so the bytes are counted here. Deadlines are
checked by `check`, which the server calls for each connection every half second: a timer for each request
costs more.
"""

import asyncio
from http import HTTPStatus
from typing import Any, Final, cast
from uuid import uuid4

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from server.http.connections import LINK, Connections, Link
from server.http.envelope import envelope
from server.http.errors import Described
from server.settings.edge import EdgeSettings

MAX_PIPELINED: Final = 8  # requests that wait for the answer to an earlier one; browsers send none
LINGER_S: Final = 2.0
"""How long a refused client may go on sending: its answer would be lost if the connection were reset."""
MAX_DISCARDED_BYTES: Final = 16 * 2**20
MAX_UNSENT_BYTES: Final = 65_536  # more is sent at once: the transport then says when a client does not read

INVALID: Final = "VALIDATION_ERROR"
MALFORMED: Final = Described(400, INVALID, "The request is not valid HTTP")
HEAD_TOO_LARGE: Final = Described(431, INVALID, "The request's headers are too large, or too many")
HEAD_TOO_SLOW: Final = Described(408, INVALID, "The request's headers did not arrive in time")
BODY_TOO_SLOW: Final = Described(408, INVALID, "The request body came too slowly")


class _Refused(Exception):
    """Stops the parser: the request breaks a bound."""


class BoundedProtocol(HttpToolsProtocol):
    """One connection, from its acceptance until it is closed."""

    def __init__(self, *args: Any, bounds: EdgeSettings, places: Connections, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._bounds = bounds
        self._places = places
        self._link = Link()
        self._running: RequestResponseCycle | None = None
        self._heard_of = False  # whether the client has sent anything
        self._in_head = False
        self._head_bytes = 0
        self._head_lines = 0
        self._beside_data = 0  # bytes since the parser last found a whole head or data of a body
        self._head_began: float | None = None
        self._body_began: float | None = None
        self._body_bytes = 0
        self._unread = _Unread()
        self._checked = 0.0
        self._refused_at: float | None = None
        self._deaf = False  # whether what still comes is discarded
        self._discarded = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as uvicorn's
        """Take a place, or refuse the connection."""
        super().connection_made(cast("asyncio.Transport", _Guarded(transport, self.loop)))
        refusal = self._places.enter(self, self.client[0] if self.client else "")
        if refusal is not None:
            self._deaf = True
            self._answer(refusal)
            self.transport.close()
            return
        self._head_began = self.loop.time()

    def connection_lost(self, exc: Exception | None) -> None:
        """Free the place, and tell every request of the connection that its client is gone."""
        self._link.is_lost = True
        self._places.leave(self)
        # uvicorn tells the last request only: one that others wait behind would never learn of it.
        for cycle in (self._running, *(cycle for cycle, _ in self.pipeline)):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()
        self.pipeline.clear()
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came."""
        if self._deaf:
            self._discarded += len(data)
            if self._discarded > MAX_DISCARDED_BYTES:
                self.transport.abort()
            return
        self._unset_keepalive_if_required()
        self._heard_of = True
        if self._head_began is None and self._body_began is None and not self._busy:
            self._head_began = self.loop.time()
        self._beside_data += len(data)
        refusal = None
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if upgrade.args[0] < len(data):  # for another protocol, which we do not speak
                self.cycle.keep_alive = False
                self._deaf = True
        except httptools.HttpParserError as error:
            refusal = HEAD_TOO_LARGE if isinstance(error.__context__, _Refused) else MALFORMED
        if refusal is None and self._beside_data > self._bounds.max_header_bytes:
            refusal = HEAD_TOO_LARGE
        if refusal is not None:
            self.refuse(refusal)

    def on_message_begin(self) -> None:
        """Begin to count a head."""
        super().on_message_begin()
        self.scope["extensions"] = {LINK: cast("Any", self._link)}
        self._in_head = True
        self._head_bytes = self._head_lines = 0
        if self._head_began is None:
            self._head_began = self.loop.time()

    def on_url(self, url: bytes) -> None:
        """Take a part of the target."""
        self._count(len(url), lines=0)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header. Trailers of a body come here, too; they are counted and dropped."""
        self._count(len(name) + len(value or b"") + 4, lines=1)  # a colon, a blank and the end of the line
        if self._in_head:
            super().on_header(name, value or b"")

    def on_headers_complete(self) -> None:
        """Begin a request."""
        if len(self.pipeline) >= MAX_PIPELINED:
            raise _Refused
        self._in_head = False
        self._head_began = None
        self._beside_data = 0
        self._body_began, self._body_bytes = self.loop.time(), 0
        self._places.works(self)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a part of the body."""
        self._beside_data = 0
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """End the request's body."""
        self._beside_data = 0
        self._body_began = None
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Wait for the next request."""
        super().on_response_complete()
        if not self._busy:
            self._places.waits(self)

    def check(self, now: float) -> None:
        """Refuse or close what is too slow. now: the loop's time."""
        since_s, self._checked = now - (self._checked or now), now
        if self._refused_at is not None:
            if now - self._refused_at > LINGER_S:
                self.transport.abort()
            return
        if self._head_began is not None and now - self._head_began > self._bounds.header_timeout_s:
            if self._heard_of:
                self.refuse(HEAD_TOO_SLOW)
            else:
                self._places.refused["silent"] += 1
                self.transport.close()
            return
        if self._body_began is not None:
            if self.flow.read_paused or self.cycle.waiting_for_100_continue:
                self._body_began += since_s  # we keep the client waiting
            elif now - self._body_began > self._bounds.stall_timeout_s:
                if self._body_bytes < self._least_bytes:
                    self.refuse(BODY_TOO_SLOW)
                    return
                self._body_began, self._body_bytes = now, 0
        self._unread.look(self.transport.get_write_buffer_size(), now)
        if self._unread.is_stuck(now, self._bounds.stall_timeout_s, self._least_bytes):
            self._places.refused["answer_not_read"] += 1
            self.transport.abort()

    def drop(self) -> None:
        """Close the connection at once."""
        self.transport.abort()

    @property
    def unread_bytes(self) -> int:
        """What the client has not read of its answers."""
        return 0 if self.transport.is_closing() else self._unread.size

    def refuse(self, refusal: Described) -> None:
        """Answer, and discard what still comes; without an answer if one was begun."""
        self._places.refused[HTTPStatus(refusal.status).phrase] += 1
        self._stop_listening()
        cycle = self._running
        if self._busy and cycle is not None:
            if cycle.response_started or self.pipeline or cycle is not self.cycle:
                self.transport.abort()
                return
            cycle.disconnected = True  # what the application answers now is too late
            cycle.message_event.set()
        self._answer(refusal)
        self.flow.resume_reading()
        if self.transport.can_write_eof():
            self.transport.write_eof()

    @property
    def _busy(self) -> bool:
        """Whether a request is being handled or waits to be."""
        return bool(self.pipeline) or (self._running is not None and not self._running.response_complete)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    def _count(self, size_bytes: int, lines: int) -> None:
        self._head_bytes += size_bytes
        self._head_lines += lines
        bounds = self._bounds
        if self._head_bytes > bounds.max_header_bytes or self._head_lines > bounds.max_headers:
            raise _Refused

    @property
    def _least_bytes(self) -> float:
        """What must move in each of the periods that a stall may last."""
        return self._bounds.stall_timeout_s * self._bounds.min_bytes_per_s

    def _stop_listening(self) -> None:
        self._unset_keepalive_if_required()
        self._head_began = self._body_began = None
        self._refused_at = self.loop.time()
        self._deaf = True

    def _answer(self, refusal: Described) -> None:
        request_id = uuid4().hex
        body = envelope(refusal, request_id)
        headers = {
            "content-type": "application/json",
            "content-length": len(body),
            "cache-control": "no-store",
            "x-request-id": request_id,
            "connection": "close",
        }
        if refusal.retry_after_s is not None:
            headers["retry-after"] = refusal.retry_after_s
        lines = [f"HTTP/1.1 {refusal.status} {HTTPStatus(refusal.status).phrase}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + body)


class _Guarded:
    """A transport that ignores what is asked of it after it was closed, or its answers were ended.

    uvloop raises an error then, and tells the protocol a moment later that the client is gone: what a
    request does in between would look like a bug of ours.

    What is written in one turn of the loop, as the head of an answer and its body, is sent in one packet.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._ended = False
        self._unsent: list[bytes] = []
        self._unsent_bytes = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if self._ended or self._transport.is_closing():
            return
        if not self._unsent:
            self._loop.call_soon(self._send)
        self._unsent.append(data)
        self._unsent_bytes += len(data)
        if self._unsent_bytes > MAX_UNSENT_BYTES:
            self._send()

    def _send(self) -> None:
        if self._unsent and not self._transport.is_closing():
            self._transport.write(b"".join(self._unsent))
        self._unsent.clear()
        self._unsent_bytes = 0

    def get_write_buffer_size(self) -> int:
        return self._transport.get_write_buffer_size() + self._unsent_bytes

    def close(self) -> None:
        self._send()
        self._transport.close()

    def write_eof(self) -> None:
        if not self._ended and not self._transport.is_closing():
            self._send()
            self._ended = True
            self._transport.write_eof()

    def pause_reading(self) -> None:
        if not self._transport.is_closing():
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()


class _Unread:
    """What a client has not read of its answers, and how fast it reads."""

    def __init__(self) -> None:
        self.size = 0
        self._since: float | None = None
        self._read = 0

    def look(self, size: int, now: float) -> None:
        """Note how many bytes wait now."""
        if size == 0:
            self._since = None
        elif self._since is None:
            self._since, self._read = now, 0
        else:
            self._read += max(0, self.size - size)
        self.size = size

    def is_stuck(self, now: float, period_s: float, least_bytes: float) -> bool:
        """Whether too little was read in a period that is over now."""
        if self._since is None or now - self._since <= period_s:
            return False
        if self._read < least_bytes:
            return True
        self._since, self._read = now, 0
        return False
