"""The HTTP transport of the hosted backend: it enforces a call's deadline and records the JSON responses."""

import json
import time
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any, Final

import httpx2

from outbound.errors import AddressRefused, SchemeRefused
from outbound.transport import Bounds

ROUTER_HOST: Final = "router.huggingface.co"
BOUNDS: Final = Bounds(
    max_bytes=16 * 2**20
)  # a PNG of 1536 by 1536 has at most 7 MB, of 16 bits a channel 14
_MAX_JSON_BYTES: Final = 64 * 2**10
_ERRORS_FROM: Final = 400  # Source: RFC 9110, section 15.5
_NOT_PROCESSED: Final = frozenset({307, 308})  # redirects that say: send the same request elsewhere


class Exchange:
    """The requests of one call: their common deadline, whether the order was sent, the last JSON response."""

    def __init__(self, deadline: float) -> None:
        """Take the call's deadline, in seconds of `time.monotonic()`."""
        self.deadline = deadline
        self.sent = False
        """Whether a provider has received the order, and may have drawn it."""
        self.json_body = b""
        """The beginning of the last JSON response, at most 64 KiB."""

    def remaining_s(self) -> float:
        """Return the seconds until the deadline.

        Raises:
            httpx2.ReadTimeout: the deadline has passed.

        """
        remaining_s = self.deadline - time.monotonic()
        if remaining_s <= 0:
            raise httpx2.ReadTimeout("the call's deadline has passed")
        return remaining_s

    def last_json(self) -> dict[str, Any]:
        """Return the last JSON response, or an empty object if it is not an object."""
        try:
            content = json.loads(self.json_body)
        except ValueError:
            return {}
        return content if isinstance(content, dict) else {}

    def json_contains(self, words: Iterable[str]) -> bool:
        """Whether the last JSON response contains one of these lower-case words, ignoring its case."""
        text = self.json_body.decode("utf-8", "replace").lower()
        return any(word in text for word in words)


current_exchange: ContextVar[Exchange] = ContextVar("exchange")
"""The exchange of this thread's requests."""


class ProviderTransport(httpx2.BaseTransport):
    """Sends requests within the deadline of the current exchange, through the operator's gateway if set."""

    def __init__(
        self,
        public: httpx2.BaseTransport,
        gateway_url: str | None = None,
        gateway: httpx2.BaseTransport | None = None,
    ) -> None:
        """Take the transport for all addresses, and the one for requests that go to the gateway.

        They are two, because the operator's gateway may be anywhere, and what a provider names may not: an
        address of an image that names the gateway is sent by the first.
        """
        self._public = public
        self._gateway_url = httpx2.URL(gateway_url) if gateway_url else None
        self._gateway = gateway or public

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request.

        Raises:
            httpx2.TransportError: from the transports, or because the deadline has passed.
            LookupError: this thread has no exchange, so there is no deadline.

        """
        exchange = current_exchange.get()
        exchange.remaining_s()
        request.extensions["deadline"] = exchange.deadline
        transport = self._public
        if self._gateway_url is not None and request.url.host == ROUTER_HOST:
            transport = self._gateway
            path = self._gateway_url.raw_path.rstrip(b"/") + request.url.raw_path
            request.url = self._gateway_url.copy_with(raw_path=path)
            request.headers["Host"] = request.url.netloc.decode()
        sent_before = exchange.sent
        exchange.sent = sent_before or request.method == "POST"  # undone below if it was not processed
        try:
            response = transport.handle_request(request)
        except (
            httpx2.ConnectError,
            httpx2.ConnectTimeout,
            httpx2.ProxyError,
            AddressRefused,
            SchemeRefused,
        ):
            exchange.sent = sent_before
            raise
        if response.status_code in _NOT_PROCESSED:
            exchange.sent = sent_before
        is_json = "json" in response.headers.get("content-type", "")
        if is_json:
            exchange.json_body = b""
        is_error = response.status_code >= _ERRORS_FROM
        response.stream = _RecordedStream(response.stream, exchange, is_json=is_json, is_error=is_error)
        return response

    def close(self) -> None:
        """Close all connections."""
        self._public.close()
        self._gateway.close()


class _RecordedStream(httpx2.SyncByteStream):
    """A response body whose JSON the exchange records. Of an error no more is read than is recorded."""

    def __init__(self, inner: Any, exchange: Exchange, *, is_json: bool, is_error: bool) -> None:
        self._inner = inner
        self._exchange = exchange
        self._is_json = is_json
        self._is_error = is_error

    def __iter__(self) -> Iterator[bytes]:
        received = 0
        for part in self._inner:
            received += len(part)
            if self._is_json and received <= _MAX_JSON_BYTES:
                self._exchange.json_body += part
            if self._is_error and received > _MAX_JSON_BYTES:
                return
            yield part

    def close(self) -> None:
        self._inner.close()
