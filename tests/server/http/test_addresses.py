import pytest

from server.http.addresses import address_of


class TestAddressOf:
    @pytest.mark.parametrize(
        ("client", "address"),
        [
            ("203.0.113.7", "203.0.113.7"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
            ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
            ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
            ("fe80::1%eth0", "fe80::/64"),
            ("::ffff:203.0.113.7", "203.0.113.7"),
            ("testclient", "testclient"),
            ("x" * 9999, "x" * 64),
            ("", ""),
        ],
    )
    def test_of_a_client(self, client, address):
        """An IPv4 address stands for itself, an IPv6 address for its /64, and any other text is shortened."""
        assert address_of({"client": (client, 50_000)}) == address

    def test_of_a_socket_without_addresses(self):
        """All clients of a Unix socket have one address, which is empty."""
        assert address_of({"client": None}) == address_of({}) == ""
