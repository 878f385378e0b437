"""The transport under every client of this program, and the client itself."""

import math
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import Any, Final

import httpcore2
import httpx2

from outbound.addresses import ANYWHERE, AddressPolicy, address_in
from outbound.connecting import CheckedBackend
from outbound.errors import AddressRefused, EncodingRefused, ResponseTooLarge, SchemeRefused

MAX_REDIRECTS: Final = 3
# Source: httpx2's defaults.
_KEEPALIVE_S: Final = 5.0
_MAX_CONNECTIONS: Final = 100

_CORE_ERRORS: Final = (
    httpcore2.TimeoutException,
    httpcore2.NetworkError,
    httpcore2.ProtocolError,
    httpcore2.ProxyError,
    httpcore2.UnsupportedProtocol,
)


@dataclass(frozen=True)
class Bounds:
    """The bounds of a request.

    max_bytes: of the body. The library bounds the headers of a response to 100 KiB.
    total_s: from the first connection to the last byte, redirects included.
    silence_s: for which the server may send nothing.
    """

    max_bytes: float = 16 * 2**20
    total_s: float = 60.0
    silence_s: float = math.inf


class OutboundTransport(httpx2.BaseTransport):
    """Sends requests to addresses that the policy permits, and bounds time and size of the responses.

    A request may carry its own `deadline` among its extensions, in seconds of `time.monotonic()`.
    """

    def __init__(
        self,
        policy: AddressPolicy,
        bounds: Bounds,
        *,
        proxy_url: str | None = None,
        ssl_context: ssl.SSLContext | None = None,
    ) -> None:
        """Take the rules. proxy_url: a proxy of the operator's, which resolves all names."""
        self._policy = policy
        self._bounds = bounds
        self._proxied = proxy_url is not None
        ssl_context = ssl_context or httpx2.create_ssl_context()
        self._pools: Mapping[str, httpcore2.ConnectionPool] = {
            scheme: _pool(policy, bounds, ssl_context, proxy_url, encrypted=scheme == "https")
            for scheme in ("https", "http")
        }

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request. A redirect is a request of its own, so that it is checked as well.

        Raises:
            OutboundRefused: one subclass per cause.
            httpx2.TransportError: from the network, or because the deadline has passed.

        """
        self._check(request.url)
        request.headers["Accept-Encoding"] = "identity"
        deadline = request.extensions.setdefault("deadline", time.monotonic() + self._bounds.total_s)
        remaining_s = deadline - time.monotonic()
        timeouts = {
            "connect": deadline,
            "read": deadline,
            "write": deadline,
            "pool": None if math.isinf(remaining_s) else max(0.0, remaining_s),
        }
        with _translated():
            received = self._pools[request.url.scheme].handle_request(
                httpcore2.Request(
                    method=request.method,
                    url=httpcore2.URL(
                        scheme=request.url.raw_scheme,
                        host=request.url.raw_host,
                        port=request.url.port,
                        target=request.url.raw_path,
                    ),
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions={**request.extensions, "timeout": timeouts},
                )
            )
        return self._bounded(request, received)

    def _check(self, url: httpx2.URL) -> None:
        """Refuse what needs no connection to be refused.

        Raises:
            SchemeRefused: the URL is not https, or http although no network is allowed.
            AddressRefused: behind a proxy nothing else checks an address in a URL, nor a name by http.

        """
        if url.scheme not in self._pools or (url.scheme == "http" and not self._policy.allowed):
            raise SchemeRefused(url.scheme)
        if not self._proxied:
            return
        address = address_in(url.host)
        if address is not None and not self._policy.permits(address, encrypted=url.scheme == "https"):
            raise AddressRefused(url.host, str(address))
        if address is None and url.scheme == "http":
            raise SchemeRefused(url.scheme)

    def _bounded(self, request: httpx2.Request, received: httpcore2.Response) -> httpx2.Response:
        """Return the response with a body that cannot exceed the bounds.

        Raises:
            EncodingRefused: the body is encoded. That of an error or a redirect is dropped instead, since its
                status says enough.
            ResponseTooLarge: the body will be too large.

        """
        headers = httpx2.Headers(received.headers)
        body: httpx2.SyncByteStream = _BoundedBody(received, self._bounds.max_bytes)
        if request.method != "HEAD":
            encoding = headers.pop("Content-Encoding", "identity").strip().lower()
            length = headers.get("Content-Length", "")
            if encoding not in {"", "identity"}:
                body.close()
                if received.status < 300:  # noqa: PLR2004 - in HTTP, redirects and errors begin here
                    raise EncodingRefused(encoding)
                body = httpx2.ByteStream(b"")
            elif length.isascii() and length.isdecimal() and int(length[:20]) > self._bounds.max_bytes:
                body.close()
                raise ResponseTooLarge(self._bounds.max_bytes)
        return httpx2.Response(
            received.status, headers=headers, stream=body, extensions=dict(received.extensions)
        )

    def close(self) -> None:
        """Close all connections."""
        for pool in self._pools.values():
            pool.close()


class _BoundedBody(httpx2.SyncByteStream):
    """A body of a bounded number of bytes, in parts of at most 64 KiB. The connection bounds its time."""

    def __init__(self, received: httpcore2.Response, max_bytes: float) -> None:
        self._received = received
        self._max_bytes = max_bytes

    def __iter__(self) -> Iterator[bytes]:
        received_bytes = 0
        with _translated():
            for part in self._received.iter_stream():
                received_bytes += len(part)
                if received_bytes > self._max_bytes:
                    raise ResponseTooLarge(self._max_bytes)
                yield part

    def close(self) -> None:
        with _translated():
            self._received.close()


def open_client(
    transport: httpx2.BaseTransport, kind: type[httpx2.Client] = httpx2.Client, **arguments: Any
) -> httpx2.Client:
    """Return a client that follows at most three redirects, keeps no cookies and reads no environment.

    It drops `Authorization` where a redirect leaves the origin. The transport checks each redirect.
    """
    no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=()))
    return kind(
        transport=transport,
        follow_redirects=True,
        max_redirects=MAX_REDIRECTS,
        cookies=no_cookies,
        trust_env=False,
        **arguments,
    )


def _pool(
    policy: AddressPolicy,
    bounds: Bounds,
    ssl_context: ssl.SSLContext,
    proxy_url: str | None,
    *,
    encrypted: bool,
) -> httpcore2.ConnectionPool:
    """Return a pool for https or for http: by http fewer addresses may be reached."""
    common: dict[str, Any] = {
        "ssl_context": ssl_context,
        "max_connections": _MAX_CONNECTIONS,
        "keepalive_expiry": _KEEPALIVE_S,
    }
    if proxy_url is None:
        backend = CheckedBackend(
            lambda address: policy.permits(address, encrypted=encrypted), bounds.silence_s
        )
        return httpcore2.ConnectionPool(network_backend=backend, **common)
    proxy = httpx2.Proxy(proxy_url)
    backend = CheckedBackend(lambda address: ANYWHERE.permits(address, encrypted=False), bounds.silence_s)
    return httpcore2.HTTPProxy(
        proxy_url=str(proxy.url), proxy_auth=proxy.raw_auth, network_backend=backend, **common
    )


@contextmanager
def _translated() -> Iterator[None]:
    """Raise httpcore2's errors as httpx2's, which have the same names."""
    try:
        yield
    except _CORE_ERRORS as error:
        translated: type[Exception] = getattr(httpx2, type(error).__name__)
        raise translated(str(error)) from error
