"""What `up` runs on one machine: Redis, the API and the workers."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Final
from urllib.error import HTTPError
from urllib.request import urlopen

from server.logs import get_log
from server.settings import Settings
from server.supervisor.api_process import ApiProcess
from server.supervisor.embedded_redis import EmbeddedRedis
from server.supervisor.shutdown import in_thread
from server.supervisor.watchdog import Watchdog

log = get_log(__name__)

LOOK_S: Final = 0.05
TELL_S: Final = 10.0  # longer than the miniature takes to be loaded


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
        told_at = time.monotonic()
        while not stopped.is_set():
            drawing = enough(watchdog.ready.is_set() for watchdog in self.watchdogs)
            if drawing and self._why_not_ready() is None:
                return True
            if time.monotonic() > told_at + TELL_S:
                told_at = time.monotonic()
                log.warning("up.not_ready", **self._why_not_ready() or {})
            time.sleep(LOOK_S)
        return False

    def _why_not_ready(self) -> dict[str, str] | None:
        """Return what `/readyz` says of each part that is not well; None if generations are accepted."""
        try:
            with urlopen(f"{self.api.url}/readyz", timeout=1):  # noqa: S310  # our own address
                return None
        except HTTPError as error:
            with error:
                checks: dict[str, str] = json.load(error)["checks"]
            return {part: words for part, words in checks.items() if words != "ok"}
        except OSError as error:
            return {"api": f"It does not answer ({type(error).__name__})"}


def _return_work(settings: Settings, backend: str, worker: str, was_ready: bool, cause: str | None) -> None:
    from server.supervisor.preparation import return_work  # noqa: PLC0415  # imported late, so that workers start sooner

    return_work(settings, backend, worker, was_ready, cause)
