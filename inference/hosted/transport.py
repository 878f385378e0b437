"""The HTTP transport of the hosted backend: it enforces a call's deadline and records the JSON responses."""

import json
import time
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any, Final

import httpx2

ROUTER_HOST: Final = "router.huggingface.co"
CONNECT_TIMEOUT_S: Final = 10.0
MAX_RESPONSE_BYTES: Final = 64 * 2**20  # a PNG of 1536 by 1536 has at most 7 MB
_MAX_JSON_BYTES: Final = 64 * 2**10


class ResponseTooLarge(httpx2.TransportError):
    """A provider's response is larger than any image."""


class Exchange:
    """The requests of one call: their common deadline, whether the order was sent, the last JSON response."""

    def __init__(self, deadline: float) -> None:
        """Take the call's deadline, in seconds of `time.monotonic()`."""
        self._deadline = deadline
        self.sent = False
        """Whether a provider has received the order, and may have drawn it."""
        self.json_body = b""
        """The beginning of the last JSON response, at most 64 KiB."""

    def remaining_s(self) -> float:
        """Return the seconds until the deadline.

        Raises:
            httpx2.ReadTimeout: the deadline has passed.

        """
        remaining_s = self._deadline - time.monotonic()
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


class BoundedTransport(httpx2.BaseTransport):
    """Sends requests within the deadline of the current exchange, through the operator's gateway if set."""

    def __init__(self, inner: httpx2.BaseTransport, gateway: str | None) -> None:
        self._inner = inner
        self._gateway = httpx2.URL(gateway) if gateway else None

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request.

        Raises:
            httpx2.TransportError: from the inner transport, or because the deadline has passed.
            LookupError: this thread has no exchange, so there is no deadline.

        """
        exchange = current_exchange.get()
        remaining_s = exchange.remaining_s()
        request.extensions["timeout"] = {
            "connect": min(CONNECT_TIMEOUT_S, remaining_s),
            "pool": remaining_s,
            "read": remaining_s,
            "write": remaining_s,
        }
        if self._gateway is not None and request.url.host == ROUTER_HOST:
            path = self._gateway.raw_path.rstrip(b"/") + request.url.raw_path
            request.url = self._gateway.copy_with(raw_path=path)
            request.headers["Host"] = request.url.netloc.decode()
        sent_before = exchange.sent
        exchange.sent = sent_before or request.method == "POST"  # undone below if the connection fails
        try:
            response = self._inner.handle_request(request)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError):
            exchange.sent = sent_before
            raise
        is_json = "json" in response.headers.get("content-type", "")
        if is_json:
            exchange.json_body = b""
        response.stream = _BoundedStream(response.stream, exchange, is_json=is_json)
        return response

    def close(self) -> None:
        """Close all connections."""
        self._inner.close()


class _BoundedStream(httpx2.SyncByteStream):
    """A response body with a deadline and a maximum size, since a server may send slowly or without end."""

    def __init__(self, inner: Any, exchange: Exchange, *, is_json: bool) -> None:
        self._inner = inner
        self._exchange = exchange
        self._is_json = is_json

    def __iter__(self) -> Iterator[bytes]:
        received = 0
        for part in self._inner:
            self._exchange.remaining_s()
            received += len(part)
            if received > MAX_RESPONSE_BYTES:
                raise ResponseTooLarge(f"more than {MAX_RESPONSE_BYTES} bytes")
            if self._is_json and received <= _MAX_JSON_BYTES:
                self._exchange.json_body += part
            yield part

    def close(self) -> None:
        self._inner.close()
