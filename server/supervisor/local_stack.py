"""What `up` runs on one machine: Redis, the API and the workers."""

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Final
from urllib.request import urlopen

from server.settings import Settings
from server.supervisor.api_process import ApiProcess
from server.supervisor.embedded_redis import EmbeddedRedis
from server.supervisor.shutdown import in_thread
from server.supervisor.watchdog import Watchdog

LOOK_S: Final = 0.05


class LocalStack:
    """Starts the parts, keeps each alive from its own thread, and stops them in the right order."""

    def __init__(self, settings: Settings, workers: int) -> None:
        self._settings = settings
        self.api = ApiProcess(settings)
        self.watchdogs = [
            Watchdog(settings, partial(_return_work, settings, backend), backend)
            for backend in settings.worker.backends
            for _ in range(workers if backend == settings.worker.backends[0] else 1)
        ]
        self._redis = EmbeddedRedis(settings.server.redis_url_file) if settings.redis.url is None else None

    @contextmanager
    def drawing(self) -> Iterator[None]:
        """Run Redis and the workers while the body runs. Redis stops last, since workers listen to it.

        This may come before the migration: a worker imports torch for seconds before it needs the database.
        """
        with ExitStack() as parts:
            if self._redis is not None:
                self._redis.start()
                parts.callback(self._redis.stop)
                parts.enter_context(in_thread("redis", self._redis.keep))
            for number, watchdog in enumerate(self.watchdogs):
                parts.enter_context(in_thread(f"watchdog-{number}", watchdog.run))
            yield

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Run the API, on a migrated database, while the body runs."""
        with in_thread("api", self.api.run):
            yield

    def wait_until_ready(self, stopped: threading.Event) -> bool:
        """Wait until the API answers and every worker is warm; return False if stopped before that.

        With a hosted fallback, one warm worker suffices.
        """
        enough = any if len(self._settings.worker.backends) > 1 else all
        while not stopped.is_set():
            if enough(watchdog.ready.is_set() for watchdog in self.watchdogs) and self._api_answers():
                return True
            time.sleep(LOOK_S)
        return False

    def _api_answers(self) -> bool:
        try:
            with urlopen(f"{self.api.url}/readyz", timeout=1):  # noqa: S310  # our own address
                return True
        except OSError:
            return False


def _return_work(settings: Settings, backend: str, worker: str, was_ready: bool, cause: str | None) -> None:
    from server.supervisor.preparation import return_work  # noqa: PLC0415  # imported late, so that workers start sooner

    return_work(settings, backend, worker, was_ready, cause)
