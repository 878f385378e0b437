"""The bell wakes a worker. The pending rows are the queue; a ring that is lost is made good by the reaper."""

from typing import Final

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import RedisError
from redis.retry import Retry
from rq import Queue

from server.queues.jobs import RING, open_queue
from server.settings import Settings
from server.telemetry import get_log

log = get_log(__name__)

PATIENCE_S: Final = 1.0  # a submission that is already committed does not wait for Redis
FORGOTTEN_S: Final = 3600  # how long RQ remembers a ring whose worker was killed


class Bell:
    """Rings for generations. Redis away is never an error, only a delay."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._url: str | None = None
        self._queue: Queue | None = None

    def ring(self, *generation_ids: str) -> bool:
        """Wake a worker for each generation; return whether Redis took the rings."""
        try:
            queue = self._connected()
            if queue is None:
                return False
            for generation_id in generation_ids:
                queue.enqueue(
                    RING, generation_id, job_timeout=FORGOTTEN_S, result_ttl=0, failure_ttl=FORGOTTEN_S
                )
        except (RedisError, ValueError) as error:  # ValueError: the address is malformed
            log.warning("bell.unheard", rings=len(generation_ids), cause=type(error).__name__)
            return False
        return True

    def waiting(self) -> int | None:
        """Return how many rings no worker has answered, None if Redis is away."""
        try:
            queue = self._connected()
            return None if queue is None else int(queue.connection.llen(queue.key))
        except (RedisError, ValueError):
            return None

    def _connected(self) -> Queue | None:
        # `up` may have started a new Redis since; its address is read until one is set for good.
        url = self._settings.connected_redis_url()
        if url is None:
            return None
        if self._queue is None or url != self._url:
            connection = Redis.from_url(
                url,
                socket_connect_timeout=PATIENCE_S,
                socket_timeout=PATIENCE_S,
                retry=Retry(NoBackoff(), 0),
            )
            self._queue, self._url = open_queue(connection), url
        return self._queue
