"""Which connections an API process has, of whom, and which of them may go when all places are taken."""

import resource
from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any, Final, Protocol

from server.http.addresses import grouped
from server.http.errors import Described

RESERVED_DESCRIPTORS: Final = 128  # 30 connections to SQLite with three files each, uploads, Redis, the logs
SHARE: Final = 2
"""One address may have the whole number of connections divided by this."""
TOO_MANY: Final = Described(
    503, "SERVICE_UNAVAILABLE", "The server has no free connection. Please try again later", retry_after_s=5
)
TOO_MANY_OF_ADDRESS: Final = Described(
    429, "RATE_LIMIT_EXCEEDED", "Too many connections from one address. Close one first", retry_after_s=5
)


LINK: Final = "avatar-creator.link"
"""The extension of ASGI in which a request finds its connection."""


@dataclass(eq=False)
class Link:
    """A connection as its requests see it. is_lost: whether it is closed, by whomever."""

    is_lost: bool = False


def link_of(scope: Mapping[str, Any]) -> Link:
    """Return the connection of a request; under a server that tells of none, one of the request's own."""
    found = (scope.get("extensions") or {}).get(LINK)
    return found if isinstance(found, Link) else Link()


class Connection(Protocol):
    """What stands behind a place: it can be taken away."""

    def drop(self) -> None:
        """Close the connection at once."""


class Connections:
    """The places for connections. All methods are called on the event loop."""

    def __init__(self, most: int, most_per_address: int, trusted_proxies: Collection[str]) -> None:
        self._most = most
        self._most_per_address = min(most_per_address, max(1, most // SHARE))
        self._group = _grouping(trusted_proxies)
        self._addresses: dict[Connection, str | None] = {}
        self._by_address: Counter[str] = Counter()
        self._waiting: dict[Connection, None] = {}  # in the order in which they began to wait
        self.refused: Counter[str] = Counter()
        """What was refused since somebody last looked, by its cause."""

    def enter(self, connection: Connection, host: str) -> Described | None:
        """Give a connection a place, where it waits for a request; or return why it has none."""
        address = self._group(host)
        if address is not None and self._by_address[address] >= self._most_per_address:
            self.refused["connections_of_address"] += 1
            return TOO_MANY_OF_ADDRESS
        if len(self._addresses) >= self._most and not self._make_room():
            self.refused["connections"] += 1
            return TOO_MANY
        self._addresses[connection] = address
        if address is not None:
            self._by_address[address] += 1
        self._waiting[connection] = None
        return None

    def waits(self, connection: Connection) -> None:
        """Note that a connection has no request in hand: others may have its place."""
        if connection in self._addresses:
            self._waiting.setdefault(connection)

    def works(self, connection: Connection) -> None:
        """Note that a connection has a request in hand."""
        self._waiting.pop(connection, None)

    def leave(self, connection: Connection) -> None:
        """Take the place back, if the connection has one."""
        self._waiting.pop(connection, None)
        address = self._addresses.pop(connection, None)
        if address is not None:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]

    def _make_room(self) -> bool:
        longest = next(iter(self._waiting), None)
        if longest is None:
            return False
        self.refused["made_room"] += 1
        self.leave(longest)
        longest.drop()
        return True


def affordable(most: int) -> int:
    """Return how many connections there can be, and have the system allow as many open files as it will."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = most + RESERVED_DESCRIPTORS
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return most
    allowed = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (allowed, hard))
    except (OSError, ValueError):
        allowed = soft
    return max(1, min(most, allowed - RESERVED_DESCRIPTORS))


def _grouping(trusted_proxies: Collection[str]) -> Callable[[str], str | None]:
    """Return what connections are counted by: None for a trusted proxy, which brings many clients'."""
    networks = [ip_network(proxy) for proxy in trusted_proxies]

    @lru_cache(maxsize=4096)
    def group(host: str) -> str | None:
        try:
            address = ip_address(host.partition("%")[0])
        except ValueError:
            return grouped(host)
        return None if any(address in network for network in networks) else grouped(host)

    return group
