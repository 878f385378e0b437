import pytest
from redis import Redis
from setproctitle import getproctitle

from server.scheduling.wakeups import WakeUpJob, open_queue
from server.worker.process import WakeUpWorker


@pytest.fixture
def worker(redis_url):
    """A worker on an empty Redis that does not listen yet."""
    with Redis.from_url(redis_url) as connection:
        yield WakeUpWorker([open_queue(connection)], connection=connection, job_class=WakeUpJob)


class TestWakeUpWorker:
    def test_it_keeps_the_title_of_its_process(self, worker):
        """RQ renames its process where setproctitle is installed; ours is found by its command line."""
        before = getproctitle()
        worker.procline("Listening on generations")
        assert getproctitle() == before

    def test_a_signal_writes_nothing_to_redis(self, worker):
        """Within the signal handler Redis is not asked, whether it answers or not."""
        worker.set_shutdown_requested_date()
        assert worker.connection.keys() == []
