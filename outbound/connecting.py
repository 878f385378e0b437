"""Connections to checked addresses, with a deadline for all that happens on them.

httpcore2 passes a request's `timeout` through to these classes. Here it is a point in time, in seconds of
`time.monotonic()`, so that many short reads cannot outlast it.
"""

import math
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable
from ipaddress import ip_address
from queue import Empty, SimpleQueue
from typing import Any, Final

import httpcore2

from outbound.addresses import Address
from outbound.errors import AddressRefused

CONNECT_TIMEOUT_S: Final = 10.0
"""For resolving a name, and for connecting to one address."""


def look_up(host: str, port: int) -> list[str]:
    """Return the addresses of a name. An address in any notation that the system knows is its own."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(endpoint[0]) for *_, endpoint in found))


class CheckedBackend(httpcore2.NetworkBackend):
    """Resolves a name once, checks all of its addresses, and connects to one of these very addresses.

    TLS still verifies the name: only the connection is made by address.
    """

    def __init__(self, permits: Callable[[Address], bool], silence_s: float) -> None:
        """Take the check of an address, and how long a server may be silent."""
        self._permits = permits
        self._silence_s = silence_s
        self._system = httpcore2.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        """Connect to the first address that answers.

        Raises:
            AddressRefused: at least one address of the host may not be reached. None is connected to.
            httpcore2.ConnectError: the name does not resolve, or no address answers.
            httpcore2.ConnectTimeout: the deadline has passed.

        """
        deadline = math.inf if timeout is None else timeout
        addresses = [ip_address(address) for address in _resolve(host, port, deadline)]
        for address in addresses:
            if not self._permits(address):
                raise AddressRefused(host, str(address))
        last_error: Exception = httpcore2.ConnectError("the name has no address")
        for address in addresses:
            remaining_s = min(CONNECT_TIMEOUT_S, _remaining_s(deadline, httpcore2.ConnectTimeout))
            try:
                stream = self._system.connect_tcp(
                    str(address), port, remaining_s, local_address, socket_options
                )
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                last_error = error
            else:
                return _DeadlineStream(stream, self._silence_s)
        raise last_error


class _DeadlineStream(httpcore2.NetworkStream):
    """A connection that gives up at the request's deadline, or when the server is silent for too long."""

    def __init__(self, inner: httpcore2.NetworkStream, silence_s: float) -> None:
        self._inner = inner
        self._silence_s = silence_s

    def _timeout_s(self, deadline: float | None, passed: type[Exception]) -> float | None:
        remaining_s = math.inf if deadline is None else _remaining_s(deadline, passed)
        timeout_s = min(remaining_s, self._silence_s)
        return None if math.isinf(timeout_s) else timeout_s

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._inner.read(max_bytes, self._timeout_s(timeout, httpcore2.ReadTimeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._inner.write(buffer, self._timeout_s(timeout, httpcore2.WriteTimeout))

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore2.NetworkStream:
        remaining_s = self._timeout_s(timeout, httpcore2.ConnectTimeout)
        encrypted = self._inner.start_tls(ssl_context, server_hostname, remaining_s)
        return _DeadlineStream(encrypted, self._silence_s)

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)

    def close(self) -> None:
        self._inner.close()


def _resolve(host: str, port: int, deadline: float) -> list[str]:
    """Return a host's addresses.

    In a thread of its own, because nothing bounds the system's resolver but the name servers' timeouts.
    """
    answers: SimpleQueue[list[str] | Exception] = SimpleQueue()

    def work() -> None:
        try:
            answers.put(look_up(host, port))
        except (OSError, UnicodeError) as error:
            answers.put(error)

    threading.Thread(target=work, name="resolver", daemon=True).start()
    try:
        answer = answers.get(timeout=min(CONNECT_TIMEOUT_S, _remaining_s(deadline, httpcore2.ConnectTimeout)))
    except Empty:
        raise httpcore2.ConnectTimeout("the name is not resolved in time") from None
    if isinstance(answer, Exception):
        raise httpcore2.ConnectError("the name does not resolve") from answer
    return answer


def _remaining_s(deadline: float, passed: type[Exception]) -> float:
    remaining_s = deadline - time.monotonic()
    if remaining_s <= 0:
        raise passed("the deadline has passed")
    return remaining_s
