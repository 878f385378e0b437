"""The address that a request comes from, as limits count it."""

from ipaddress import ip_address, ip_network
from typing import Final

from litestar.types import Scope

PREFIX_BITS: Final = (
    64  # a customer's network: its hosts choose the other half of an IPv6 address as they like
)
MAX_CHARS: Final = 64


def address_of(scope: Scope) -> str:
    """Return the IPv4 address or IPv6 /64 of a request. uvicorn has put in what a trusted proxy names."""
    return grouped((scope.get("client") or ("", 0))[0])


def grouped(host: str) -> str:
    """Return an IPv4 address or an IPv6 /64. A text that is no address is shortened."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return host[:MAX_CHARS]
    if address.version == 4:  # noqa: PLR2004  # IPv4
        return str(address)
    if address.ipv4_mapped is not None:
        return str(address.ipv4_mapped)
    return str(ip_network((address, PREFIX_BITS), strict=False))
