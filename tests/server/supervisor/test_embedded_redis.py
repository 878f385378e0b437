import os
import signal
import stat
import threading
import time

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, RedisError

from server.supervisor.embedded_redis import EmbeddedRedis


@pytest.fixture
def server(tmp_path):
    """A running embedded Redis."""
    server = EmbeddedRedis(tmp_path / "redis.url")
    server.start()
    yield server
    server.stop()


def ping(url):
    """Return whether a Redis answers at an address."""
    try:
        with Redis.from_url(url, socket_timeout=1) as client:
            return client.ping()
    except RedisError:
        return False


def wait_for(condition, seconds=10):
    """Wait until a condition is true; return whether it became true in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if condition():
            return True
        time.sleep(0.02)
    return False


class TestEmbeddedRedis:
    def test_its_address_is_in_a_file_for_its_owner(self, server, tmp_path):
        """It answers at the address in the file, which only the owner can read."""
        file = tmp_path / "redis.url"
        assert file.read_text() == server.url
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert ping(server.url)

    def test_it_requires_its_password(self, server):
        """A client without the password, which is random, is refused."""
        address = "redis://" + server.url.partition("@")[2]
        with Redis.from_url(address) as client, pytest.raises(AuthenticationError):
            client.ping()
        password = server.url.removeprefix("redis://:").partition("@")[0]
        assert len(password) >= 32

    def test_its_password_is_on_no_command_line(self, server):
        """The password is hidden from other users of the machine, who can read all command lines."""
        password = server.url.removeprefix("redis://:").partition("@")[0]
        with open(f"/proc/{server._process.pid}/cmdline", "rb") as file:  # noqa: PTH123  # a file of the kernel's
            assert password.encode() not in file.read()

    def test_it_listens_to_this_machine_alone(self, server):
        """Its only address is on loopback."""
        with Redis.from_url(server.url) as client:
            assert client.config_get("bind")["bind"] == "127.0.0.1"

    def test_it_comes_back_after_being_killed(self, server):
        """After SIGKILL it is started again, on the same address with the same password."""
        stopped = threading.Event()
        keeper = threading.Thread(target=server.keep, args=(stopped,))
        keeper.start()
        try:
            before, url = server._process.pid, server.url
            os.kill(before, signal.SIGKILL)
            assert wait_for(lambda: server._process.pid != before and ping(url))
        finally:
            stopped.set()
            keeper.join(15)
        assert not keeper.is_alive()

    def test_stopping_removes_its_address(self, tmp_path):
        """After a stop nothing answers, and the file with the address is gone."""
        server = EmbeddedRedis(tmp_path / "redis.url")
        server.start()
        server.stop()
        assert not (tmp_path / "redis.url").exists()
        assert not ping(server.url)
        assert server._process.poll() is not None

    def test_the_orphan_of_a_killed_up_is_ended(self, tmp_path):
        """A Redis that was left behind on this folder ends when the next one starts."""
        orphan = EmbeddedRedis(tmp_path / "redis.url")
        orphan.start()
        successor = EmbeddedRedis(tmp_path / "redis.url")
        successor.start()
        try:
            assert orphan._process.wait(10) is not None
            assert not ping(orphan.url)
            assert (tmp_path / "redis.url").read_text() == successor.url
        finally:
            successor.stop()
            orphan.stop()

    @pytest.mark.parametrize("left", ["", "nonsense", "redis://:x@127.0.0.1:1/0"])
    def test_a_stale_address_is_no_obstacle(self, tmp_path, left):
        """A new Redis starts, whatever an earlier run left in the file."""
        (tmp_path / "redis.url").write_text(left)
        server = EmbeddedRedis(tmp_path / "redis.url")
        server.start()
        try:
            assert (tmp_path / "redis.url").read_text() == server.url
            assert stat.S_IMODE((tmp_path / "redis.url").stat().st_mode) == 0o600
        finally:
            server.stop()
