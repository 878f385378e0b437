"""Which addresses may be reached."""

from ipaddress import ip_address

import pytest

from outbound.addresses import ANYWHERE, PUBLIC, AddressPolicy

REFUSED = [
    "0.0.0.0",  # noqa: S104 - never bound
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "169.254.169.254",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.1.1",
    "198.18.0.1",
    "198.51.100.1",
    "203.0.113.1",
    "224.0.0.1",
    "239.255.255.250",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:10.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::8.8.8.8",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::",
    "2002:808:808::",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd12:3456::1",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]
PUBLIC_ADDRESSES = [
    "1.1.1.1",
    "8.8.8.8",
    "100.63.255.255",
    "172.32.0.1",
    "192.0.1.1",
    "223.255.255.255",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
    "2001:4860:4860::8888",
    "2606:4700::1111",
]


class TestPublic:
    @pytest.mark.parametrize("address", REFUSED)
    def test_special_addresses_are_refused(self, address):
        """An address that is not public, in any form that carries one, is refused with and without TLS."""
        assert not PUBLIC.permits(ip_address(address), encrypted=True)
        assert not PUBLIC.permits(ip_address(address), encrypted=False)

    @pytest.mark.parametrize("address", PUBLIC_ADDRESSES)
    def test_public_addresses_are_reached_by_https_only(self, address):
        """A public address may be reached, but not in the clear."""
        assert PUBLIC.permits(ip_address(address), encrypted=True)
        assert not PUBLIC.permits(ip_address(address), encrypted=False)


class TestAllowed:
    def test_an_allowed_network_is_reached_by_http(self):
        """The operator's network is reached with and without TLS, IPv4-mapped too, and no other."""
        policy = AddressPolicy.of(["10.1.0.0/16", "fd00::/8"])
        for address in ("10.1.2.3", "::ffff:10.1.2.3", "fd00::1"):
            assert policy.permits(ip_address(address), encrypted=True)
            assert policy.permits(ip_address(address), encrypted=False)
        for address in ("10.2.0.1", "127.0.0.1", "fc00::1"):
            assert not policy.permits(ip_address(address), encrypted=True)
        assert not policy.permits(ip_address("8.8.8.8"), encrypted=False)

    @pytest.mark.parametrize("address", REFUSED + PUBLIC_ADDRESSES)
    def test_anywhere_is_everything(self, address):
        """What the operator names as a gateway may have any address."""
        assert ANYWHERE.permits(ip_address(address), encrypted=False)
