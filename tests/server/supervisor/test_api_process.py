import errno
import socket

import pytest

from server.settings import Settings
from server.supervisor.api_process import AddressUnusable, ApiProcess, listen


class TestListen:
    def test_a_taken_port_is_reported(self):
        """A port that another program listens on is an error that names it and the option to change it."""
        with listen("127.0.0.1", 0) as first:
            port = first.getsockname()[1]
            with pytest.raises(AddressUnusable, match=f"Port {port}.*in use.*--port") as taken:
                listen("127.0.0.1", port)
        assert (taken.value.host, taken.value.port) == ("127.0.0.1", port)

    def test_every_cause_is_named(self):
        """An address of no machine of ours, and a name that is none, are not said to be in use."""
        for host, words in (("192.0.2.1", "has no such address"), ("no-such-host.invalid", "Check HOST")):
            with pytest.raises(AddressUnusable, match=words) as unusable:
                listen(host, 0)
            assert "in use" not in str(unusable.value)

    def test_a_port_that_is_not_permitted(self, monkeypatch):
        """A port that this user may not have is said to be one."""

        def refuse(*_, **__):
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(socket, "create_server", refuse)
        with pytest.raises(AddressUnusable, match="this user may not listen there"):
            listen("127.0.0.1", 80)

    def test_ipv6(self):
        """An address of IPv6 can be listened on."""
        with listen("::1", 0) as listening:
            assert listening.family is socket.AF_INET6

    def test_a_port_just_left_can_be_taken(self):
        """A restart does not wait for the old connections of the port to be forgotten."""
        with listen("127.0.0.1", 0) as first:
            port = first.getsockname()[1]
            client = socket.create_connection(("127.0.0.1", port), timeout=5)
            server, _ = first.accept()
            server.close()
            client.close()
        listen("127.0.0.1", port).close()

    def test_zero_takes_a_free_port(self):
        """Two sockets on port 0 get two different ports."""
        with listen("127.0.0.1", 0) as one, listen("127.0.0.1", 0) as two:
            assert one.getsockname()[1] != two.getsockname()[1]


class TestUrl:
    @pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])  # noqa: S104  # what is tested
    def test_it_is_one_that_this_machine_can_open(self, tmp_path, host):
        """An API on all addresses is reached on loopback, at the port that it got."""
        settings = Settings.from_environment(tmp_path, {}).changed(host=host, port=0)
        api = ApiProcess(settings)
        try:
            assert api.url.startswith("http://127.0.0.1:")
            port = int(api.url.rpartition(":")[2])
            socket.create_connection(("127.0.0.1", port), timeout=5).close()
        finally:
            api._stop()
