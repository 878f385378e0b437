"""The program under the rules of its user in Redis, on a real server: it needs no more, and has no more."""

import threading
from pathlib import Path

import pytest
from limits import parse
from redis import Redis
from redis.exceptions import NoPermissionError

import server.scheduling.wakeups
from server.http.limiter import Limiter
from server.scheduling.wakeups import Listener, WakeUps
from server.supervisor.embedded_redis import EmbeddedRedis

RULES = Path(server.scheduling.wakeups.__file__).with_name("redis.acl")
PASSWORD = "of-the-program"  # noqa: S105  # of a server that ends with the test


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory):
    """A server of these tests alone: they change its users."""
    server = EmbeddedRedis(tmp_path_factory.mktemp("acl") / "redis.url")
    server.start()
    yield server
    server.stop()


@pytest.fixture
def administrator(redis_server, redis_url):
    """A client that may do anything, on a server that has the program's user."""
    lines = RULES.read_text("utf-8").splitlines()
    rules = [word for line in lines if not line.startswith("#") for word in line.split()]
    with Redis.from_url(redis_url) as client:
        client.execute_command("ACL", "SETUSER", "avatar", "reset", "on", f">{PASSWORD}", *rules)
        client.execute_command("ACL", "LOG", "RESET")
        yield client


@pytest.fixture
def url(administrator, redis_url):
    """The address by which the program connects."""
    host = redis_url.rpartition("@")[2]
    return f"redis://avatar:{PASSWORD}@{host}"


class TestTheProgram:
    def test_does_all_that_it_does(self, administrator, settings, url):
        """Wake-ups, readiness and rate limits work, and Redis has refused nothing."""
        settings = settings.changed(redis_url=url)
        wakeups, listener, stopped = WakeUps(settings), Listener(settings, 0.1), threading.Event()
        assert wakeups.works()
        assert wakeups.notify("one", "two")
        assert wakeups.waiting() == 2
        for wait_s in (0, 0.1, 0.1, 0):
            listener.wait(wait_s, stopped)
        assert wakeups.waiting() == 0
        limiter, rate = Limiter(settings), parse("2/minute")
        assert [limiter.hit(rate, "generate", "ada").allowed for _ in range(3)] == [True, True, False]
        assert limiter._shared().storage.check()
        with Redis.from_url(url) as client:
            assert client.ping()
        assert administrator.execute_command("ACL", "LOG") == []
        kept = {key.decode().split("/")[0] for key in administrator.scan_iter()}
        assert kept == {"rq:queues", "avatar-creator:probe", "avatar-creator:limits:LIMITER"}

    @pytest.mark.parametrize(
        "command",
        [
            "CONFIG GET dir",
            "CONFIG SET dir /tmp",
            "FLUSHALL",
            "FLUSHDB",
            "KEYS *",
            "SCAN 0",
            "SHUTDOWN",
            "MONITOR",
            "CLIENT LIST",
            "CLIENT KILL TYPE normal",
            "ACL LIST",
            "ACL SETUSER avatar +@all",
            "REPLICAOF 127.0.0.1 1",
            "MODULE LIST",
            "SCRIPT FLUSH",
            "EVAL return{} 0",
            "PUBLISH rq:pubsub:1 stop",
            "SUBSCRIBE x",
            "GET avatar-creator:probe",
            "SET other 1",
            "DEL other",
            "LPUSH rq:queue:others 1",
            "HSET rq:workers a 1",
            "EXPIRE other 1",
        ],
    )
    def test_is_refused(self, administrator, url, command):
        """Nothing is asked of the server itself, no key of anybody else is touched, and no script is sent."""
        with Redis.from_url(url) as client, pytest.raises(NoPermissionError):
            client.execute_command(*command.split())

    def test_a_script_is_bound_like_its_caller(self, administrator, url):
        """A script that a client loads can neither reach another's key nor call what its caller may not."""
        with Redis.from_url(url) as client:
            for body in ("return redis.call('SET', KEYS[1], '1')", "return redis.call('KEYS', '*')"):
                digest = client.script_load(body)
                with pytest.raises(Exception, match=r"(?i)permission|ACL"):
                    client.evalsha(digest, 1, "other")
        assert administrator.exists("other") == 0
