import os
import signal
import socket
import threading
import time
from contextlib import contextmanager
from itertools import cycle

import pytest
from limits import parse
from redis import Redis

from server.http.limiter import RETRY_S, Limiter
from server.settings import Settings
from server.supervisor.embedded_redis import EmbeddedRedis

MINUTE = parse("5/minute")


class Clock:
    """A clock that is set by hand."""

    def __init__(self):
        self.seconds = 100.0

    def read(self):
        """Return the time."""
        return self.seconds


@pytest.fixture
def clock():
    """The clock of the limiters' circuit."""
    return Clock()


@pytest.fixture
def open_limiter(tmp_path, redis_url, clock):
    """Open a limiter on the empty Redis, or on another address."""
    settings = Settings.from_environment(tmp_path, {})

    def opened(url=redis_url):
        return Limiter(settings.changed(redis_url=url), clock.read)

    return opened


@pytest.fixture
def breakable(tmp_path):
    """A Redis of the test's own, which it may stop."""
    server = EmbeddedRedis(tmp_path / "own-redis.url")
    server.start()
    yield server
    os.kill(server._process.pid, signal.SIGCONT)
    server.stop()


def allowed(limiter, times, rate=MINUTE, whose="user-1"):
    """Hit a limit several times; return how often it was allowed."""
    return sum(limiter.hit(rate, "generate", whose).allowed for _ in range(times))


def events(log_lines):
    """Return the limiter's events in the log."""
    return [line["event"] for line in log_lines() if line["event"].startswith("rate_limits.")]


class TestHit:
    def test_of_many_at_once_exactly_the_limit_passes(self, open_limiter, at_once):
        """Of 160 hits by eight threads through two limiters on one Redis, as many pass as the limit says."""
        rate = parse("20/minute")
        limiters = cycle([open_limiter(), open_limiter()])
        counts = at_once(8, lambda: allowed(next(limiters), 20, rate))
        assert sum(counts) == 20

    def test_what_remains_counts_down(self, open_limiter):
        """Each hit leaves one fewer, the one after the last is refused; the reset is within the window."""
        limiter, before = open_limiter(), time.time()
        counts = [limiter.hit(MINUTE, "generate", "user-1") for _ in range(7)]
        assert [count.remaining for count in counts] == [4, 3, 2, 1, 0, 0, 0]
        assert [count.allowed for count in counts] == [True] * 5 + [False] * 2
        assert {count.limit for count in counts} == {5}
        assert all(before + 59 < count.reset_at < time.time() + 60.01 for count in counts)

    def test_users_and_limits_are_counted_apart(self, open_limiter):
        """A user's limit is neither another user's nor another limit's."""
        limiter = open_limiter()
        assert allowed(limiter, 6) == 5
        assert allowed(limiter, 6, whose="user-2") == 5
        assert limiter.hit(MINUTE, "upload", "user-1").remaining == 4

    def test_after_the_time_to_wait_one_more_passes(self, open_limiter):
        """The time to wait is true: after it, and not before the reset, the next hit is allowed."""
        limiter, rate = open_limiter(), parse("2/second")
        while (refusal := limiter.hit(rate, "generate", "user-1")).allowed:
            pass
        assert refusal.retry_after_s >= 1
        assert time.time() + refusal.retry_after_s > refusal.reset_at
        time.sleep(refusal.retry_after_s)
        assert limiter.hit(rate, "generate", "user-1").allowed

    def test_a_refused_hit_does_not_lengthen_the_wait(self, open_limiter):
        """Hits beyond the limit are not counted: the reset stays, for every limiter."""
        one, other = open_limiter(), open_limiter()
        allowed(one, 5)
        resets = {each.hit(MINUTE, "generate", "user-1").reset_at for each in (one, other, one, other)}
        assert len(resets) == 1

    def test_a_refusal_is_remembered(self, open_limiter, redis_url):
        """Until its reset a refusal stands without asking Redis, for the one who was refused alone."""
        limiter = open_limiter()
        assert allowed(limiter, 6) == 5
        with Redis.from_url(redis_url) as client:
            client.flushall()
        assert limiter.refusal("generate", "user-1") == limiter.hit(MINUTE, "generate", "user-1")
        assert limiter.refusal("generate", "user-2") is None
        assert limiter.hit(MINUTE, "generate", "user-2").allowed


@contextmanager
def silent_server():
    """A server that accepts connections and never answers, and the connections that it has accepted."""
    accepted = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def accept():
            while True:
                try:
                    accepted.append(listening.accept()[0])
                except OSError:
                    return

        thread = threading.Thread(target=accept)
        thread.start()
        yield f"redis://127.0.0.1:{listening.getsockname()[1]}/0", accepted
        listening.shutdown(socket.SHUT_RDWR)
        thread.join()
    for connection in accepted:
        connection.close()


class TestRedisAway:
    @pytest.mark.parametrize("url", [None, "redis://127.0.0.1:1/0", "redis://127.0.0.1:port/0"])
    def test_without_redis_each_process_counts(self, open_limiter, log_lines, url):
        """Without an answering Redis a limit of the same size holds in the process; one line is logged."""
        limiter = open_limiter(url)
        assert allowed(limiter, 8) == 5
        assert allowed(limiter, 8, whose="user-2") == 5
        assert events(log_lines) == ["rate_limits.redis_away"]

    @pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
    def test_redis_goes_away_and_comes_back(self, open_limiter, breakable, clock, log_lines, how):
        """A Redis that is killed or hangs is replaced by the process, and shared again once it answers."""
        one, other = open_limiter(breakable.url), open_limiter(breakable.url)
        assert allowed(one, 3) + allowed(other, 3) == 5
        os.kill(breakable._process.pid, how)
        assert allowed(one, 8, whose="user-2") == 5
        assert allowed(other, 8, whose="user-2") == 5
        if how == signal.SIGKILL:
            breakable._process.wait()
            breakable._spawn()
        else:
            os.kill(breakable._process.pid, signal.SIGCONT)
        clock.seconds += RETRY_S
        assert allowed(one, 3, whose="user-3") + allowed(other, 3, whose="user-3") == 5
        assert sorted(events(log_lines)) == ["rate_limits.redis_away"] * 2 + ["rate_limits.redis_back"] * 2

    def test_a_hanging_redis_is_asked_once_in_a_while(self, open_limiter, clock, at_once):
        """Of many hits one waits for a Redis that never answers, and one more after each pause."""
        with silent_server() as (url, asked):
            limiter = open_limiter(url)
            assert allowed(limiter, 8) == 5
            assert len(asked) == 1
            for pauses in (1, 2):
                clock.seconds += RETRY_S
                users = (f"user-{pauses}-{number}" for number in range(8))
                at_once(8, lambda whose=users: limiter.hit(MINUTE, "generate", next(whose)))
                assert len(asked) == 1 + pauses

    def test_the_log_names_no_password(self, open_limiter, log_lines):
        """The line about a Redis that is away has neither its address nor its password."""
        allowed(open_limiter("redis://:hidden-word@127.0.0.1:1/0"), 1)
        (line,) = log_lines()
        assert line["event"] == "rate_limits.redis_away"
        assert "hidden-word" not in str(line)
