"""Counts requests against rates: in Redis for all processes, or in this process while Redis is away."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from limits import RateLimitItem
from limits.storage import MemoryStorage, RedisStorage
from limits.strategies import MovingWindowRateLimiter
from redis.exceptions import RedisError

from server.logs import get_log
from server.scheduling.wakeups import open_redis
from server.settings import Settings

log = get_log(__name__)

KEY_PREFIX: Final = "avatar-creator:limits"
RETRY_S: Final = 5.0  # one request in this time waits for a Redis that is away; the others do not ask it
MAX_REFUSALS: Final = 10_000  # remembered at once
MAX_IN_PROCESS: Final = (
    100_000  # users and addresses; the library's memory forgets their requests, not their keys
)


@dataclass(frozen=True)
class Count:
    """The state of a limit after it has counted, or refused, a request.

    reset_at: unix time in seconds when the oldest counted request leaves the window, and one more may come.
    """

    limit: int
    allowed: bool
    remaining: int
    reset_at: float

    @property
    def retry_after_s(self) -> int:
        """Whole seconds, at least 1, after which one more request may come."""
        return max(1, int(self.reset_at - time.time()) + 1)


class Limiter:
    """Counts in a moving window: at no time have more requests passed in the last minute than the rate says.

    What is refused is not counted, so a refusal stands until its reset. It is remembered and asks nobody.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._memory = MemoryStorage()
        self._redis = self._opened()
        self._retry_at = 0.0
        self._away_logged = False
        self._refusals: dict[tuple[str, ...], Count] = {}

    def hit(self, rate: RateLimitItem, *whose: str) -> Count:
        """Count a request, unless the rate refuses it. whose: the limit's name and who is limited."""
        if (refusal := self.refusal(*whose)) is not None:
            return refusal
        count = self._count(rate, whose)
        if not count.allowed:
            self._remember(whose, count)
        return count

    def refusal(self, *whose: str) -> Count | None:
        """Return the last refusal if it still stands. Nothing is counted and nobody asked."""
        refusal = self._refusals.get(whose)
        return refusal if refusal is not None and refusal.reset_at > time.time() else None

    def _remember(self, whose: tuple[str, ...], refusal: Count) -> None:
        with self._lock:
            if len(self._refusals) >= MAX_REFUSALS:
                moment = time.time()
                self._refusals = {key: each for key, each in self._refusals.items() if each.reset_at > moment}
            if len(self._refusals) < MAX_REFUSALS:
                self._refusals[whose] = refusal

    def _count(self, rate: RateLimitItem, whose: tuple[str, ...]) -> Count:
        redis = self._shared()
        if redis is not None:
            try:
                return _count(redis, rate, whose)
            except RedisError as error:
                self._lose(redis, type(error).__name__)
        return _count(self._in_process(), rate, whose)

    def _in_process(self) -> MovingWindowRateLimiter:
        with self._lock:
            if len(self._memory.events) > MAX_IN_PROCESS:
                self._memory = MemoryStorage()
            return MovingWindowRateLimiter(self._memory)

    def _shared(self) -> MovingWindowRateLimiter | None:
        """Return the limiter on Redis; None while Redis is away. One caller in RETRY_S tries it again."""
        with self._lock:
            if self._redis is not None or self._clock() < self._retry_at:
                return self._redis
            self._retry_at = self._clock() + RETRY_S
        redis = self._opened()
        if redis is None or not redis.storage.check():
            self._log_away("no answer")
            return None
        with self._lock:
            self._redis, self._away_logged = redis, False
        log.info("rate_limits.redis_back")
        return redis

    def _lose(self, redis: MovingWindowRateLimiter, cause: str) -> None:
        with self._lock:
            if self._redis is redis:
                self._redis, self._retry_at = None, self._clock() + RETRY_S
        self._log_away(cause)

    def _log_away(self, cause: str) -> None:
        """Log once that each process counts by itself, until Redis is back."""
        with self._lock:
            logged, self._away_logged = self._away_logged, True
        if not logged:
            log.warning("rate_limits.redis_away", cause=cause)

    def _opened(self) -> MovingWindowRateLimiter | None:
        """Return a limiter on Redis, not yet connected. `up` may have started another Redis than the last."""
        url = self._settings.connected_redis_url()
        if url is None:
            return None
        try:
            pool = open_redis(url, self._settings.redis.limit_timeout_s).connection_pool
        except ValueError:  # the address is malformed
            return None
        return MovingWindowRateLimiter(RedisStorage("redis://", connection_pool=pool, key_prefix=KEY_PREFIX))


def _count(limiter: MovingWindowRateLimiter, rate: RateLimitItem, whose: tuple[str, ...]) -> Count:
    allowed = limiter.hit(rate, *whose)
    reset_at, remaining = limiter.get_window_stats(rate, *whose)
    if not allowed and remaining:  # between the two, a request has left the window
        reset_at = time.time()
    return Count(rate.amount, allowed, max(0, remaining) if allowed else 0, reset_at)
