import socket
import threading
import time

import pytest
from redis import Redis

from server.scheduling.wakeups import FORGOTTEN_S, WAKE_UP, Listener, WakeUps, open_queue
from tests.databases import ONE_DATABASE

pytestmark = ONE_DATABASE

SHORT_S = 0.2


@pytest.fixture
def client(redis_url):
    """A client of the empty Redis."""
    with Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def silent():
    """The address of a server that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"redis://127.0.0.1:{server.getsockname()[1]}/0"


def listen(settings, timeout_s):
    """Wait for a wake-up; return the seconds that it took."""
    began = time.monotonic()
    Listener(settings, 10).wait(timeout_s, threading.Event())
    return time.monotonic() - began


class TestNotify:
    def test_a_wakeup_waits_for_each_generation(self, settings, client):
        """Each generation has one wake-up in RQ's queue, with its id and nothing else of it."""
        assert WakeUps(settings).notify("generation-1", "generation-2")
        jobs = open_queue(client).get_jobs()
        assert [(job.func_name, job.args) for job in jobs] == [
            (WAKE_UP, ["generation-1"]),
            (WAKE_UP, ["generation-2"]),
        ]
        assert WakeUps(settings).waiting() == 2

    def test_what_nobody_takes_is_forgotten(self, settings, client):
        """Redis deletes the job of a wake-up that no worker took, and the wake-up still ends a wait."""
        WakeUps(settings).notify("generation-1")
        (job,) = open_queue(client).get_jobs()
        assert 0 < client.ttl(job.key) <= FORGOTTEN_S <= 60
        client.delete(job.key)
        assert listen(settings, 8) < 6

    def test_redis_away(self, settings):
        """Without Redis nothing is sent, and there is no error."""
        away = WakeUps(settings.changed(redis_url="redis://127.0.0.1:1/0"))
        assert not away.notify("generation-1")
        assert away.waiting() is None

    def test_a_silent_redis_is_waited_for_once(self, settings, silent):
        """Of many submissions while Redis is silent, the first waits for it and the others do not."""
        wakeups = WakeUps(settings.changed(redis_url=silent))
        began = time.monotonic()
        assert not any(wakeups.notify(f"generation-{number}") for number in range(20))
        assert time.monotonic() - began < 4

    def test_a_full_redis(self, settings, client):
        """A Redis that takes no more writes is like one that is away."""
        client.config_set("maxmemory", 1)
        try:
            assert not WakeUps(settings).notify("generation-1")
        finally:
            client.config_set("maxmemory", 0)


class TestNote:
    def test_a_thread_sends_what_is_noted(self, settings):
        """What is noted is sent by `run` alone, at its stop the rest."""
        wakeups, stopped = WakeUps(settings), threading.Event()
        for number in range(3):
            wakeups.note(f"generation-{number}")
        assert wakeups.waiting() == 0
        stopped.set()
        wakeups.run(stopped)
        assert wakeups.waiting() == 3

    def test_a_wakeup_is_sent_at_once(self, settings):
        """A worker that listens is woken by what another process notes."""
        wakeups, stopped = WakeUps(settings), threading.Event()
        sending = threading.Thread(target=wakeups.run, args=(stopped,))
        sending.start()
        timer = threading.Timer(SHORT_S, wakeups.note, ["generation-1"])
        timer.start()
        assert listen(settings, 8) < 6
        stopped.set()
        sending.join()


class TestListener:
    def test_a_wakeup_ends_the_wait(self, settings, client):
        """A worker that waits is woken at once, and nothing of the wake-up stays in Redis."""
        timer = threading.Timer(SHORT_S, WakeUps(settings).notify, ["generation-1"])
        timer.start()
        assert listen(settings, 8) < 6
        timer.join()
        assert [key for key in client.scan_iter() if b"generation" in key or b"job" in key] == []

    def test_without_time_it_takes_what_is_there(self, settings):
        """A worker that has just drawn takes one wake-up and does not wait for another."""
        WakeUps(settings).notify("generation-1", "generation-2")
        assert listen(settings, 0) < 5
        assert WakeUps(settings).waiting() == 1
        listen(settings, 0)
        listen(settings, 0)
        assert WakeUps(settings).waiting() == 0

    def test_an_empty_queue_is_no_redis_that_is_away(self, settings):
        """After a look at an empty queue, and at what is no text, the next wake-up is heard."""
        listener, stopped = Listener(settings, 10), threading.Event()
        listener.wait(0, stopped)
        with Redis.from_url(settings.redis.url) as redis:
            redis.rpush(open_queue(redis).key, b"\xff")
        listener.wait(0, stopped)
        WakeUps(settings).notify("generation-1")
        listener.wait(0, stopped)
        assert WakeUps(settings).waiting() == 0

    def test_without_a_wakeup_the_time_passes(self, settings):
        """Without a wake-up a worker waits as long as it was told."""
        assert listen(settings, SHORT_S) >= SHORT_S

    @pytest.mark.parametrize("address", ["redis://127.0.0.1:1/0", "no address"])
    def test_without_redis_the_time_passes(self, settings, address):
        """A worker without Redis, or with a malformed address, waits as long as it was told."""
        assert listen(settings.changed(redis_url=address), SHORT_S) >= SHORT_S

    def test_stopping_ends_the_wait(self, settings):
        """A worker that has to stop does not wait, even without Redis."""
        stopped = threading.Event()
        stopped.set()
        began = time.monotonic()
        Listener(settings.changed(redis_url="redis://127.0.0.1:1/0"), 10).wait(8, stopped)
        assert time.monotonic() - began < 6

    def test_a_silent_redis_is_waited_for_once(self, settings, silent):
        """A Redis that is silent costs a worker one wait; the next looks at the database come in time."""
        listener = Listener(settings.changed(redis_url=silent), SHORT_S)
        began = time.monotonic()
        for _ in range(5):
            listener.wait(SHORT_S, threading.Event())
        assert time.monotonic() - began < 4


class TestForgedWakeUps:
    @pytest.mark.parametrize("name", ["os.mkdir", "server.scheduling.wakeups.open_queue", "builtins.exec"])
    def test_no_function_is_called(self, settings, client, tmp_path, name):
        """A job that names a function is taken and removed, and nothing of it runs."""
        target = tmp_path / "made-by-a-payload"
        job = open_queue(client).enqueue(name, str(target))
        listen(settings, SHORT_S)
        assert not target.exists()
        assert not client.exists(job.key)

    def test_no_callback_is_called(self, settings, client, tmp_path):
        """A job with names of functions for its success, failure and stop has none of them called."""
        target = tmp_path / "made-by-a-callback"
        job = open_queue(client).enqueue(WAKE_UP, str(target))
        names = dict.fromkeys(
            ("success_callback_name", "failure_callback_name", "stopped_callback_name"), "os.mkdir"
        )
        client.hset(job.key, mapping=names)
        listen(settings, SHORT_S)
        assert not target.exists()

    def test_no_web_hook_is_sent(self, settings, client):
        """A job with a web hook makes no request."""
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(SHORT_S)
            job = open_queue(client).enqueue(WAKE_UP, "generation-1")
            hook = f'[{{"url": "http://127.0.0.1:{server.getsockname()[1]}/", "events": ["finished"]}}]'
            client.hset(job.key, "webhooks", hook)
            listen(settings, SHORT_S)
            with pytest.raises(TimeoutError):
                server.accept()

    def test_what_is_no_job_is_removed(self, settings, client):
        """Anything in the queue that is not the id of a job wakes a worker and is gone."""
        client.rpush(open_queue(client).key, b"\xff\x00 not a job", "x" * 100_000)
        listen(settings, SHORT_S)
        listen(settings, SHORT_S)
        assert WakeUps(settings).waiting() == 0
