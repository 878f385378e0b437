"""The HTTP transport of the hosted backend: one deadline for a call, and what was answered."""

import json
import time
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import Any, Final

import httpx2

ROUTER_HOST: Final = "router.huggingface.co"
CONNECT_TIMEOUT_S: Final = 10.0
MAX_ANSWER_BYTES: Final = 64 * 2**20  # a PNG of 1536 by 1536 has at most 7 MB
_MAX_TOLD_BYTES: Final = 64 * 2**10


class AnswerTooLarge(httpx2.TransportError):
    """A provider's answer is larger than any image."""


class Exchange:
    """The requests of one call: until when they may last, whether the order was sent, what was answered."""

    def __init__(self, until: float) -> None:
        """Take the moment of `time.monotonic()` at which the call's time is over."""
        self._until = until
        self.sent = False
        """Whether a provider has the order, and may have drawn it."""
        self.told = b""
        """The beginning of the last answer that was JSON."""

    def remaining_s(self) -> float:
        """Return the seconds that are left.

        Raises:
            httpx2.ReadTimeout: none are.

        """
        remaining_s = self._until - time.monotonic()
        if remaining_s <= 0:
            raise httpx2.ReadTimeout("the call's time is over")
        return remaining_s

    def last_json(self) -> dict[str, Any]:
        """Return the last answer that was a JSON object, or nothing."""
        try:
            said = json.loads(self.told)
        except ValueError:
            return {}
        return said if isinstance(said, dict) else {}

    def says(self, words: Iterable[str]) -> bool:
        """Say whether the last answer that was JSON has one of these words, in lower case."""
        said = self.told.decode("utf-8", "replace").lower()
        return any(word in said for word in words)


current: ContextVar[Exchange] = ContextVar("exchange")
"""The call that this thread's requests belong to."""


class BoundedTransport(httpx2.BaseTransport):
    """Sends requests within the current exchange's time, by the operator's own gateway if there is one."""

    def __init__(self, inner: httpx2.BaseTransport, gateway: str | None) -> None:
        self._inner = inner
        self._gateway = httpx2.URL(gateway) if gateway else None

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request.

        Raises:
            httpx2.TransportError: as the inner transport, or the exchange's time is over.
            LookupError: there is no exchange, hence no deadline.

        """
        exchange = current.get()
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
        exchange.sent = sent_before or request.method == "POST"  # from now on, unless nobody is there
        try:
            response = self._inner.handle_request(request)
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.ProxyError):
            exchange.sent = sent_before
            raise
        told = "json" in response.headers.get("content-type", "")
        if told:
            exchange.told = b""
        response.stream = _Bounded(response.stream, exchange, told=told)
        return response

    def close(self) -> None:
        """Close all connections."""
        self._inner.close()


class _Bounded(httpx2.SyncByteStream):
    """A body that ends with the exchange's time and at a size: a server may trickle, or never stop."""

    def __init__(self, inner: Any, exchange: Exchange, *, told: bool) -> None:
        self._inner = inner
        self._exchange = exchange
        self._told = told

    def __iter__(self) -> Iterator[bytes]:
        received = 0
        for part in self._inner:
            self._exchange.remaining_s()
            received += len(part)
            if received > MAX_ANSWER_BYTES:
                raise AnswerTooLarge(f"more than {MAX_ANSWER_BYTES} bytes")
            if self._told and received <= _MAX_TOLD_BYTES:
                self._exchange.told += part
            yield part

    def close(self) -> None:
        self._inner.close()
