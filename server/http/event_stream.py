"""A stream of events as an answer, and waiting for the end of a generation."""

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any, Final

from litestar.concurrency import sync_to_thread
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from server.errors import DatabaseAway
from server.http.event_feed import EventFeed, Frame, Subscription
from server.http.event_messages import HEARTBEAT
from server.logs import get_log

log = get_log(__name__)

SEND_TIMEOUT_S: Final = 30.0  # a client that reads nothing for so long is dropped; it resumes
MEDIA_TYPE: Final = "text/event-stream"
_HEADERS: Final = (
    (b"content-type", f"{MEDIA_TYPE}; charset=utf-8".encode()),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # Source: nginx; it would collect the events
)


class EventStream(ASGIResponse):
    """What happens to a generation, or to all of a user's, until the client goes or nothing can follow.

    after: the id of the last event that the client knows; None begins with a generation's first event, and
    for a user with what happens from now on. has_ended: whether the generation has, so that a client that
    knows all of it is told to come no more.
    """

    def __init__(
        self,
        feed: EventFeed,
        user_id: str,
        generation_id: str | None,
        *,
        after: int | None,
        has_ended: bool = False,
        heartbeat_s: float,
    ) -> None:
        super().__init__(media_type=MEDIA_TYPE)
        self._feed = feed
        self._user_id = user_id
        self._generation_id = generation_id
        self._after = after
        self._has_ended = has_ended
        self._heartbeat_s = heartbeat_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream.

        Raises:
            TooManyStreams, StreamsFull, DatabaseAway: nothing was sent.

        """
        del scope
        with self._feed.subscription(self._user_id, self._generation_id) as subscription:
            await while_connected(self._send(subscription, send), receive)

    async def _send(self, subscription: Subscription, send: Send) -> None:
        async with aclosing(self._batches(subscription)) as batches:
            first = await anext(batches)  # what fails here is answered as an error: nothing was sent
            if not first and self._has_ended:
                await send_start(send, 204)
                await send_body(send, b"", more=False)
                return
            try:
                await _in_time(send_start(send, 200))
                if first:
                    await _in_time(send_body(send, first))
                async for batch in batches:
                    await _in_time(send_body(send, batch or HEARTBEAT))
                await _in_time(send_body(send, b"", more=False))
            except TimeoutError:
                log.info("events.reader_stuck", generation_id=self._generation_id, user_id=self._user_id)

    async def _batches(self, subscription: Subscription) -> AsyncGenerator[bytes]:
        """Yield what happened up to now, then what happens, as it comes; nothing where a heartbeat is due."""
        position = await subscription.position()
        of_user = self._generation_id is None
        known = self._after if self._after is not None else (position if of_user else 0)
        page = await self._replay(subscription, known, position)
        yield _joined(page)
        while page:
            known = page[-1].id
            if not of_user and page[-1].is_final:
                return
            try:
                page = await self._replay(subscription, known, position)
            except DatabaseAway:
                return  # the stream has begun: its client resumes
            if page:
                yield _joined(page)
        while True:
            frames = [one for one in await subscription.frames(self._heartbeat_s) if one.id > known]
            if frames or not subscription.ended:
                yield _joined(frames)
            if subscription.ended or (not of_user and frames and frames[-1].is_final):
                return
            known = frames[-1].id if frames else known

    async def _replay(self, subscription: Subscription, known: int, position: int) -> list[Frame]:
        return await sync_to_thread(self._feed.replay, subscription, known, position)


async def until_ended(
    feed: EventFeed, user_id: str, generation_id: str, wait_s: float, receive: Receive
) -> None:
    """Wait until a generation has ended, but no longer than a time, than the client does or the server runs.

    Raises:
        TooManyStreams, StreamsFull, DatabaseAway: see there.

    """

    async def follow(subscription: Subscription) -> None:
        known = 0
        await subscription.position()
        frames = await sync_to_thread(feed.replay, subscription, known, None)
        while not subscription.ended and not any(frame.is_final for frame in frames):
            frames = await subscription.frames(wait_s)

    with feed.subscription(user_id, generation_id) as subscription:
        try:
            async with asyncio.timeout(wait_s):
                await while_connected(follow(subscription), receive)
        except TimeoutError:
            pass


async def while_connected(work: Coroutine[Any, Any, None], receive: Receive) -> None:
    """Do some work, or as much of it as can be done until the client disconnects."""
    working = asyncio.ensure_future(work)
    gone = asyncio.ensure_future(_disconnect(receive))
    try:
        await asyncio.wait({working, gone}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        for task in (working, gone):
            task.cancel()
        await asyncio.gather(working, gone, return_exceptions=True)


async def _disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _in_time(sending: Coroutine[Any, Any, None]) -> None:
    async with asyncio.timeout(SEND_TIMEOUT_S):
        await sending


async def send_start(send: Send, status: int) -> None:
    """Begin a stream."""
    await send({"type": "http.response.start", "status": status, "headers": list(_HEADERS)})


async def send_body(send: Send, data: bytes, *, more: bool = True) -> None:
    """Send a piece of a stream. more: whether others follow."""
    await send({"type": "http.response.body", "body": data, "more_body": more})


def _joined(frames: list[Frame]) -> bytes:
    return b"".join(frame.data for frame in frames)
