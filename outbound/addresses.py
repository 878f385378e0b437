"""Which IP addresses may be reached: public ones, and networks that the operator allows."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# Listed here because `is_global` differs between versions of Python, and calls multicast global.
# Source: IANA's registries of special-purpose addresses, IPv4 and IPv6, 2026-11.
_SPECIAL: Final[tuple[Network, ...]] = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by a carrier's customers
        "127.0.0.0/8",  # loopback
        "169.254.0.0/16",  # link-local, with the clouds' metadata at 169.254.169.254
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays, deprecated
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
        "2001::/23",  # protocol assignments, with Teredo, which carries an IPv4 address
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4, deprecated, which carries an IPv4 address
        "3fff::/20",  # documentation
    )
)
_GLOBAL_UNICAST: Final = IPv6Network("2000::/3")
"""All other IPv6 is special: loopback, unique local, link-local, site-local, multicast, reserved."""

_NAT64: Final = IPv6Network("64:ff9b::/96")  # Source: RFC 6052, section 2.1


@dataclass(frozen=True)
class AddressPolicy:
    """What may be reached beside public addresses by https. allowed: also by http; empty by default."""

    allowed: tuple[Network, ...] = ()

    @classmethod
    def of(cls, networks: Iterable[str]) -> "AddressPolicy":
        """Make a policy that allows these networks."""
        return cls(tuple(ip_network(network) for network in networks))

    def permits(self, address: Address, *, encrypted: bool) -> bool:
        """Whether a host with this address may be reached."""
        address = _without_translation(address)
        if any(address in network for network in self.allowed):
            return True
        return encrypted and _is_public(address)


PUBLIC: Final = AddressPolicy()
"""The default: public addresses by https, and nothing else."""

ANYWHERE: Final = AddressPolicy.of(("0.0.0.0/0", "::/0"))
"""For an address that the operator has set. Never for one that came from somebody else."""


def address_in(host: str) -> Address | None:
    """Return the address that a URL's host is, or None for a name."""
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        return None


def _without_translation(address: Address) -> Address:
    """Return the IPv4 address inside an IPv4-mapped or NAT64 address, or the address itself."""
    if isinstance(address, IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _is_public(address: Address) -> bool:
    if any(address in network for network in _SPECIAL):
        return False
    return isinstance(address, IPv4Address) or address in _GLOBAL_UNICAST
