"""One reader of the events for all streams and waiters of this process."""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Final

from server.db.unit_of_work import Transaction, UnitOfWork
from server.errors import DatabaseAway, DomainError
from server.events.tail import MOST_AT_ONCE, EventTail
from server.generations.history import Happened, History
from server.logs import get_log

log = get_log(__name__)

BUFFER: Final = 256  # events that a stream may be behind before it is ended; its client resumes
PAGE: Final = 256
ATTACH_TIMEOUT_S: Final = 5.0  # a round of the reader takes milliseconds
AWAY_PAUSE_S: Final = 1.0


@dataclass
class TooManyStreams(DomainError):
    """The caller has as many streams open as one user may have."""

    limit: int

    retry_after_s = 15

    def __str__(self) -> str:
        return (
            f"At most {self.limit} event streams and waiting requests may be open at a time. Close one first"
        )


@dataclass
class StreamsFull(DomainError):
    """This process serves as many streams as it may, or is about to stop."""

    retry_after_s = 5

    def __str__(self) -> str:
        return "The server has no free event stream. Please try again later, or poll the generation"


@dataclass(frozen=True)
class Frame:
    """An event as it is written to every stream. data: the bytes on the wire."""

    id: int
    generation_id: str
    user_id: str
    is_final: bool
    data: bytes


Encode = Callable[[Transaction, Happened], bytes]


class Subscription:
    """What one stream or waiter has yet to hear of a generation, or of all of a user's generations."""

    def __init__(self, user_id: str, generation_id: str | None) -> None:
        self.user_id = user_id
        self.generation_id = generation_id
        self.ended = False
        """Whether nothing more will come: too slow a reader, a deleted generation, a server that stops."""
        self._position: int | None = None
        self._frames: deque[Frame] = deque()
        self._changed = asyncio.Event()

    async def position(self) -> int:
        """Return the id after which this subscription hears everything.

        Raises:
            DatabaseAway: the reader cannot read.
            StreamsFull: the server stops.

        """
        try:
            async with asyncio.timeout(ATTACH_TIMEOUT_S):
                while self._position is None and not self.ended:
                    await self._next_change()
        except TimeoutError:
            raise DatabaseAway from None
        if self._position is None:
            raise StreamsFull
        return self._position

    async def frames(self, timeout_s: float) -> list[Frame]:
        """Return what has happened since the last call, at the latest after a time."""
        if not self._frames and not self.ended:
            with suppress(TimeoutError):
                async with asyncio.timeout(timeout_s):
                    await self._next_change()
        found = list(self._frames)
        self._frames.clear()
        return found

    def attach(self, position: int) -> None:
        """Begin: what happens after a position will be pushed."""
        self._position = position
        self._changed.set()

    def push(self, frame: Frame) -> None:
        """Add an event. A reader that is too far behind keeps what it has, and its subscription ends."""
        if self.ended:
            return
        if len(self._frames) == BUFFER:
            log.info("events.reader_dropped", generation_id=self.generation_id, user_id=self.user_id)
            self.end()
            return
        self._frames.append(frame)
        self._changed.set()

    def end(self) -> None:
        """End it after what it has."""
        self.ended = True
        self._changed.set()

    async def _next_change(self) -> None:
        await self._changed.wait()
        self._changed.clear()


class EventFeed:
    """Reads the events while somebody listens and pushes each to the subscriptions that it concerns.

    Its methods are called on the event loop, except `replay`.
    """

    def __init__(
        self, uow: UnitOfWork, encode: Encode, *, period_s: float, most: int, most_per_user: int
    ) -> None:
        self._uow = uow
        self._encode = encode
        self._period_s = period_s
        self._most = most
        self._most_per_user = most_per_user
        self._tail = EventTail()
        self._reading = False
        self._behind = False
        self._stopped = False
        self._called = asyncio.Event()
        self._subscriptions: set[Subscription] = set()
        self._joining: set[Subscription] = set()
        self._generations: Counter[str] = Counter()
        self._streams_of: Counter[str] = Counter()
        self._users: Counter[str] = Counter()

    @property
    def open_streams(self) -> int:
        """How many streams and waiters there are."""
        return len(self._subscriptions)

    @contextmanager
    def subscription(self, user_id: str, generation_id: str | None = None) -> Iterator[Subscription]:
        """Subscribe to a generation, or to all of a user's, while the body runs.

        Raises:
            TooManyStreams: the user has too many.
            StreamsFull: the process has too many, or stops.

        """
        if self._stopped or len(self._subscriptions) >= self._most:
            raise StreamsFull
        if self._streams_of[user_id] >= self._most_per_user:
            raise TooManyStreams(self._most_per_user)
        subscription = Subscription(user_id, generation_id)
        wanted, key = self._key(subscription)
        self._subscriptions.add(subscription)
        wanted[key] += 1
        self._streams_of[user_id] += 1
        self._join(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
            self._joining.discard(subscription)
            for counter, counted in ((wanted, key), (self._streams_of, user_id)):
                counter[counted] -= 1
                if not counter[counted]:
                    del counter[counted]

    def replay(self, subscription: Subscription, after: int, until: int | None) -> list[Frame]:
        """Read a page of what happened after an id; of a user's generations, up to another. Blocks."""
        with self._uow.read() as tx:
            history = History(tx)
            if subscription.generation_id is not None:
                found = history.of_generation(subscription.generation_id, after, PAGE)
            else:
                found = history.of_user(subscription.user_id, after, until or after, PAGE)
            return self._frames(tx, found)

    async def run(self) -> None:
        """Read until stopped. A fault is logged, and the next round tries again."""
        loop = asyncio.get_running_loop()
        # A thread of its own: no number of blocked requests delays the streams.
        thread = ThreadPoolExecutor(1, "event-feed")
        try:
            while not self._stopped:
                if not self._subscriptions:
                    self._tail = EventTail()  # whoever comes next hears what happens from then on
                    await self._called.wait()
                    self._called.clear()
                    continue  # a stream has come, or the end
                self._called.clear()
                self._reading = True
                try:
                    self._publish(*await loop.run_in_executor(thread, self._read))
                    pause_s = 0.0 if self._behind else self._period_s
                except DatabaseAway:
                    log.warning("events.database_away")
                    pause_s = AWAY_PAUSE_S
                except Exception:
                    log.exception("events.failed")
                    pause_s = AWAY_PAUSE_S
                finally:
                    self._reading = False
                self._attach_joining()
                with suppress(TimeoutError):
                    async with asyncio.timeout(pause_s):
                        await self._called.wait()
        finally:
            thread.shutdown(wait=False)

    def stop(self) -> None:
        """End all subscriptions and the reader, and accept no more."""
        self._stopped = True
        for subscription in self._subscriptions:
            subscription.end()
        self._called.set()

    def _read(self) -> tuple[Sequence[Frame], Collection[str]]:
        """Return what has happened, and the generations among it that are deleted. Runs in the thread."""
        with self._uow.read() as tx:
            events = self._tail.read(tx)
            self._behind = len(events) == MOST_AT_ONCE
            # Only the loop changes who listens, and whoever has come since is not attached yet.
            wanted = [e for e in events if self._users or e.generation_id in self._generations]
            found = History(tx).of_events([event.id for event in wanted])
            heard = [
                one for one in found if one.generation_id in self._generations or one.user_id in self._users
            ]
            deleted = {e.generation_id for e in wanted} - {one.generation_id for one in found}
            return self._frames(tx, heard), deleted

    def _frames(self, tx: Transaction, found: Sequence[Happened]) -> list[Frame]:
        return [
            Frame(one.id, one.generation_id, one.user_id, one.is_final, self._encode(tx, one))
            for one in found
        ]

    def _publish(self, frames: Sequence[Frame], deleted: Collection[str]) -> None:
        if not frames and not deleted:
            return
        by_generation: dict[str, list[Subscription]] = {}
        by_user: dict[str, list[Subscription]] = {}
        for subscription in self._subscriptions - self._joining:
            if subscription.generation_id is None:
                by_user.setdefault(subscription.user_id, []).append(subscription)
            else:
                by_generation.setdefault(subscription.generation_id, []).append(subscription)
        for frame in frames:
            for subscription in by_generation.get(frame.generation_id, ()):
                subscription.push(frame)
            for subscription in by_user.get(frame.user_id, ()):
                subscription.push(frame)
        for generation_id in deleted:
            for subscription in by_generation.get(generation_id, ()):
                subscription.end()

    def _join(self, subscription: Subscription) -> None:
        """Attach a subscription at once, or after the round that is being read: it was not meant for it."""
        self._joining.add(subscription)
        if self._tail.position is None:
            self._called.set()
        elif not self._reading:
            self._attach_joining()

    def _attach_joining(self) -> None:
        position = self._tail.position
        if position is not None:
            for subscription in self._joining:
                subscription.attach(position)
            self._joining.clear()

    def _key(self, subscription: Subscription) -> tuple[Counter[str], str]:
        if subscription.generation_id is None:
            return self._users, subscription.user_id
        return self._generations, subscription.generation_id
