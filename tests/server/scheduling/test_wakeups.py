import json
import zlib

import pytest
from redis import Redis
from rq import SimpleWorker
from rq.serializers import JSONSerializer

from server.scheduling.wakeups import WAKE_UP, CallableForbidden, WakeUpJob, open_queue


@pytest.fixture
def queue(redis_url):
    """The queue on an empty Redis."""
    with Redis.from_url(redis_url) as client:
        yield open_queue(client)


def work(queue):
    """Run all waiting jobs, as a worker does."""
    SimpleWorker([queue], connection=queue.connection, job_class=WakeUpJob, serializer=JSONSerializer).work(
        burst=True, logging_level="CRITICAL"
    )


class TestWakeUpJob:
    def test_a_wakeup_calls_its_handler(self, queue, monkeypatch):
        """A wake-up calls the handler that the worker registered, with the generation's id."""
        received = []
        monkeypatch.setitem(WakeUpJob.handlers, WAKE_UP, received.append)
        queue.enqueue(WAKE_UP, "generation-1", result_ttl=0)
        work(queue)
        assert received == ["generation-1"]

    @pytest.mark.parametrize("name", ["os.mkdir", "server.scheduling.wakeups.open_queue", "builtins.exec"])
    def test_no_other_function_is_called(self, queue, tmp_path, name):
        """A payload that names any other function is refused, and nothing of it runs."""
        target = tmp_path / "made-by-a-payload"
        job = queue.enqueue(name, str(target))
        work(queue)
        assert not target.exists()
        assert job.get_status() == "failed"
        with pytest.raises(CallableForbidden):
            _ = job.func

    def test_a_forged_payload(self, queue, tmp_path):
        """A forged payload in Redis that names an instance is refused as well."""
        target = tmp_path / "made-by-a-payload"
        job = queue.enqueue(WAKE_UP, "generation-1")
        forged = json.dumps([WAKE_UP, "os", [str(target)], {}]).encode()
        queue.connection.hset(job.key, "data", zlib.compress(forged))
        work(queue)
        assert not target.exists()
        assert job.get_status(refresh=True) == "failed"
