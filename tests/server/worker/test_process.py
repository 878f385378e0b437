import threading
import time
from contextlib import contextmanager

import pytest
from redis import Redis
from rq import Worker

from inference.scripted import Script
from server.scheduling.claim_policy import ReservePolicy
from server.scheduling.wakeups import open_queue
from server.worker.lease_guard import SAME_SIGNAL_S, StopRequest
from server.worker.process import draw_until_stopped

PATIENCE_S = 20


@pytest.fixture
def drawing(make_runner, settings):
    """Draw in a thread until the body ends, as a worker does by default."""

    @contextmanager
    def run(**changes):
        stop = StopRequest(settings.worker.shutdown_grace_s)
        runner = make_runner(Script(max_batch=4), stop=stop, overlap="on", **changes)
        thread = threading.Thread(target=draw_until_stopped, args=(runner,))
        thread.start()
        try:
            yield
        finally:
            stop.receive()
            thread.join(PATIENCE_S)
        assert not thread.is_alive()

    return run


@pytest.fixture
def completed(generation_of):
    """Wait until generations are completed."""

    def wait(*generations):
        until = time.monotonic() + PATIENCE_S
        while any(generation_of(one.id).status != "completed" for one in generations):
            assert time.monotonic() < until
            time.sleep(0.02)

    return wait


class TestDrawing:
    def test_every_wakeup_may_be_lost(self, make_account, submit_one, drawing, completed, redis_url):
        """What waits is drawn although Redis was emptied."""
        account = make_account(credits=100)
        waiting = [submit_one(account) for _ in range(3)]
        with Redis.from_url(redis_url) as client:
            client.flushall()
        with drawing():
            completed(*waiting)

    @pytest.mark.parametrize("address", ["redis://127.0.0.1:1/0", None])
    def test_there_may_be_no_redis(self, make_account, submit_one, drawing, completed, address):
        """What is submitted is drawn while Redis is away, or was never there."""
        with drawing(redis_url=address):
            completed(submit_one(make_account()))

    def test_another_worker_of_its_name_may_linger(
        self, make_account, submit_one, drawing, completed, redis_url
    ):
        """What RQ remembers of a worker that was killed keeps no worker from drawing."""
        with Redis.from_url(redis_url) as client:
            Worker([open_queue(client)], name="worker-1", connection=client).register_birth()
            with drawing():
                completed(submit_one(make_account()))

    def test_a_reserve_takes_no_wakeup(self, make_account, submit_one, drawing, completed, settings):
        """A worker in reserve finds its work in the database, and leaves the wake-ups to local workers."""
        with drawing(policy=ReservePolicy(30)):
            completed(submit_one(make_account()))
        with Redis.from_url(settings.redis.url) as client:
            assert len(open_queue(client).get_job_ids()) == 1


class TestStopRequest:
    def test_a_group_is_signalled_once(self):
        """A second signal within a moment is the same request; a later one is not."""
        stop = StopRequest(10)
        assert not stop.is_repeated()
        stop.receive()
        assert not stop.is_repeated()
        time.sleep(SAME_SIGNAL_S + 0.1)
        assert stop.is_repeated()
