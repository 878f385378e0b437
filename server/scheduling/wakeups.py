"""Wake-ups of workers, through RQ on Redis. The pending rows are the queue; a wake-up may be lost."""

from collections.abc import Callable
from typing import Any, ClassVar, Final

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
TIMEOUT_S: Final = 1.0  # a submission that is already committed does not wait for Redis
FORGOTTEN_S: Final = 3600  # RQ forgets the wake-up of a killed worker after this


class CallableForbidden(PermissionError):
    """A payload in Redis names a function that the queue does not carry."""

    def __init__(self, name: str | None) -> None:
        super().__init__(f"the queue does not carry {name!r}")
        self.name = name


class WakeUpJob(Job):
    """A job whose name is looked up in a list and never imported.

    RQ imports the function that a payload names, with any serialiser: whoever can write to Redis could run
    any code. Here a name is only a key to the handlers that the worker has set.
    """

    handlers: ClassVar[dict[str, Callable[[str], object]]] = {}

    @property
    def func(self) -> Callable[..., Any]:
        """The function behind the job's name.

        Raises:
            CallableForbidden: the name is not in the list.

        """
        if self.instance is not None or self.func_name not in self.handlers:
            raise CallableForbidden(self.func_name)
        return self.handlers[self.func_name]


def open_redis(url: str, timeout_s: float) -> Redis:
    """Return a client, not yet connected, that fails after a deadline and never retries by itself."""
    return Redis.from_url(
        url, socket_connect_timeout=timeout_s, socket_timeout=timeout_s, retry=Retry(NoBackoff(), 0)
    )


def open_queue(connection: Any) -> Queue:
    """Return the one queue: JSON on the wire, no import of what it names."""
    return Queue(QUEUE, connection=connection, job_class=WakeUpJob, serializer=JSONSerializer)


class WakeUps:
    """Wakes workers. A Redis that is away is no error, only a delay."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._url: str | None = None
        self._queue: Queue | None = None

    def notify(self, *generation_ids: str) -> bool:
        """Wake a worker for each generation; return whether Redis took the wake-ups."""
        try:
            queue = self._connected()
            if queue is None:
                return False
            for generation_id in generation_ids:
                queue.enqueue(
                    WAKE_UP, generation_id, job_timeout=FORGOTTEN_S, result_ttl=0, failure_ttl=FORGOTTEN_S
                )
        except (RedisError, ValueError) as error:  # ValueError: the address is malformed
            log.warning("wakeup.not_sent", wakeups=len(generation_ids), cause=type(error).__name__)
            return False
        return True

    def waiting(self) -> int | None:
        """Return how many wake-ups wait for a worker; None if Redis is away."""
        try:
            queue = self._connected()
            return None if queue is None else int(queue.connection.llen(queue.key))
        except (RedisError, ValueError):
            return None

    def _connected(self) -> Queue | None:
        # `up` may have started a new Redis: without REDIS_URL its address is read at every call.
        url = self._settings.connected_redis_url()
        if url is None:
            return None
        if self._queue is None or url != self._url:
            self._queue, self._url = open_queue(open_redis(url, TIMEOUT_S)), url
        return self._queue
