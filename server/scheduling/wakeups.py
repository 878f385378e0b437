"""Wake-ups of workers, through RQ on Redis. The pending rows are the queue; a wake-up may be lost.

A worker takes the ids of RQ's jobs from the queue and never reads the jobs: what they name, functions,
callbacks and web hooks, is neither imported nor called, whoever wrote it to Redis.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from rq import Queue
from rq.job import Job
from rq.serializers import JSONSerializer

from server.logs import get_log
from server.settings import Settings

log = get_log(__name__)

QUEUE: Final = "generations"
WAKE_UP: Final = "wake_up"
PROBE, PROBE_S = "avatar-creator:probe", 60
RETRY_S: Final = 5.0  # while Redis is away, one call in this time waits for it
FORGOTTEN_S: Final = 60
"""Redis forgets the job of a wake-up that nobody took after this; its id stays, which a worker reads.

What is cancelled while every worker draws leaves its wake-up: with an hour, that was 1 MiB for 1,000 of them.
"""

TOGETHER_S: Final = 0.02  # a worker looks by itself every second
LOOK_S: Final = 0.5  # so often the sending thread looks whether it shall stop

T = TypeVar("T")


def open_redis(url: str, timeout_s: float) -> Redis:
    """Return a client, not yet connected, that fails after a deadline and never retries by itself."""
    return Redis.from_url(
        url, socket_connect_timeout=timeout_s, socket_timeout=timeout_s, retry=Retry(NoBackoff(), 0)
    )


def open_queue(connection: Any) -> Queue:
    """Return the one queue, with JSON on the wire."""
    return Queue(QUEUE, connection=connection, serializer=JSONSerializer)


class _Link:
    """The queue, while Redis answers. After a failure nobody asks it, and so waits for it, for RETRY_S."""

    def __init__(self, settings: Settings, timeout_s: float) -> None:
        self._settings = settings
        self._timeout_s = timeout_s
        self._url: str | None = None
        self._queue: Queue | None = None
        self._retry_at = 0.0

    def ask(self, question: Callable[[Queue], T], failure: str) -> T | None:
        """Return the answer to a question; None while Redis is away. failure: the event for the log."""
        if time.monotonic() < self._retry_at:
            return None
        try:
            queue = self._connected()
            return None if queue is None else question(queue)
        except (RedisError, ValueError) as error:  # ValueError: the address is malformed
            log.warning(failure, cause=type(error).__name__, retry_s=RETRY_S)
            self._retry_at = time.monotonic() + RETRY_S
            return None

    def _connected(self) -> Queue | None:
        # `up` may have started a new Redis: without REDIS_URL its address is read at every call.
        url = self._settings.connected_redis_url()
        if url is None:
            return None
        if self._queue is None or url != self._url:
            self._queue, self._url = open_queue(open_redis(url, self._timeout_s)), url
        return self._queue


class WakeUps:
    """Wakes workers. A Redis that is away is no error, only a delay."""

    def __init__(self, settings: Settings) -> None:
        self._link = _Link(settings, settings.redis.timeout_s)
        self._noted: SimpleQueue[str] = SimpleQueue()

    def note(self, generation_id: str) -> None:
        """Have a worker woken by `run`. Nothing is sent here, so who submits waits for no Redis."""
        self._noted.put(generation_id)

    def run(self, stopped: threading.Event) -> None:
        """Send what is noted until stopped: the first at once, and what comes soon after in one message."""
        while not stopped.is_set():
            with suppress(Empty):
                self.notify(self._noted.get(timeout=LOOK_S), *self._rest())
                stopped.wait(TOGETHER_S)
        if rest := list(self._rest()):
            self.notify(*rest)

    def _rest(self) -> Iterator[str]:
        with suppress(Empty):
            while True:
                yield self._noted.get_nowait()

    def notify(self, *generation_ids: str) -> bool:
        """Wake a worker for each generation; return whether Redis took the wake-ups."""

        def enqueue(queue: Queue) -> bool:
            wake = Queue.prepare_data
            queue.enqueue_many([wake(WAKE_UP, [one], ttl=FORGOTTEN_S) for one in generation_ids])
            return True

        return self._link.ask(enqueue, "wakeup.not_sent") or False

    def works(self) -> bool:
        """Return whether Redis answers and takes writes."""
        written = self._link.ask(
            lambda queue: bool(queue.connection.set(PROBE, "1", ex=PROBE_S)), "wakeup.not_probed"
        )
        return bool(written)

    def waiting(self) -> int | None:
        """Return how many wake-ups wait for a worker; None if Redis is away."""
        return self._link.ask(lambda queue: int(queue.connection.llen(queue.key)), "wakeup.not_counted")


class Listener:
    """Takes wake-ups from the queue, as a worker does that has nothing to draw."""

    def __init__(self, settings: Settings, longest_wait_s: float) -> None:
        self._link = _Link(settings, settings.redis.timeout_s + longest_wait_s)

    def wait(self, timeout_s: float, stopped: threading.Event) -> None:
        """Wait until a wake-up comes, for at most a time; 0 takes one that is there.

        While Redis is away, the time passes. A Redis that is silent is noticed after the longest time.
        """
        until = time.monotonic() + timeout_s
        heard = self._link.ask(partial(_take, timeout_s=timeout_s), "worker.redis_away")
        if heard is None:
            stopped.wait(max(0.0, until - time.monotonic()))


def _take(queue: Queue, timeout_s: float) -> bool:
    """Take one wake-up, and remove what RQ keeps of it."""
    if timeout_s:
        taken: Any = queue.connection.blpop([queue.key], timeout_s)
        job_id: Any = taken and taken[1]
    else:
        job_id = queue.connection.lpop(queue.key)  # RQ's own raises an error if there is none
    if job_id:
        queue.connection.delete(Job.key_for(job_id.decode(errors="replace")))
    return bool(job_id)
