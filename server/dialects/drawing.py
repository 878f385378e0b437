"""Drawing while the client waits: what a dialect's one request is in use cases."""

import random
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from litestar.concurrency import sync_to_thread
from litestar.types import Receive

from server.caller import Caller
from server.credits.repository import Ledger
from server.db.unit_of_work import Transaction
from server.dialects.asking import Accepted, Asked, accept_all, take_up
from server.errors import NotFound
from server.generations import service
from server.generations.service import Followed
from server.generations.states import Reason, has_ended
from server.generations.tables import Generation
from server.http.errors import ClientGone, DrawingFailed
from server.http.event_feed import StreamsFull, Subscription
from server.http.event_stream import while_connected
from server.http.services import Services
from server.idempotency.repetitions import RepeatableRequests
from server.images.store import Variant

LOOK_S: Final = 60.0
"""How long a wait in which nothing happens lasts, about, until it looks at the database: of a deleted
generation no event comes. By chance, half of it to one and a half: calls of one moment look one by one."""


@dataclass(frozen=True)
class Drawn:
    """An image that was drawn, its bytes as they are stored, and what it has cost."""

    generation: Generation
    credits: int
    image_key: str
    png: bytes


class Waiting:
    """What was accepted for a request whose client waits."""

    def __init__(
        self,
        services: Services,
        caller: Caller,
        accepted: Accepted,
        subscription: Subscription,
        unfinished: set[str],
    ) -> None:
        self.services = services
        self.caller = caller
        self.generation_ids = accepted.generation_ids
        self.record_id = accepted.record_id
        self._subscription = subscription
        self._unfinished = unfinished

    @property
    def is_over(self) -> bool:
        """Whether every image is drawn, or never will be."""
        return not self._unfinished

    async def look(self, wait_s: float) -> None:
        """Wait until something happens, but no longer than a time; then see what has ended.

        Raises:
            StreamsFull: the server stops. What was accepted goes on, and a repetition finds it.

        """
        frames = await self._subscription.frames(wait_s)
        self._unfinished -= {frame.generation_id for frame in frames if frame.is_final}
        if not frames:
            self._unfinished = await sync_to_thread(
                unfinished, self.services, self.caller, self.generation_ids
            )
        if self._unfinished and self._subscription.ended:
            raise StreamsFull

    async def until_over(self) -> None:
        """Wait for every image.

        Raises:
            StreamsFull: see `look`.

        """
        while not self.is_over:
            await self.look(LOOK_S * random.uniform(0.5, 1.5))  # noqa: S311  # no secret

    async def drawn(self) -> list[Drawn]:
        """Return the images that were drawn.

        Raises:
            DrawingFailed: not one was drawn.

        """
        return await sync_to_thread(_drawn, self.services, self.caller, self.generation_ids)


@asynccontextmanager
async def accepted_for(
    services: Services, caller: Caller, asked: Asked, *, repeated: bool
) -> AsyncIterator[Waiting]:
    """Have images drawn, and wait for them without a thread or a connection of the database.

    If the client goes, the drawing goes on. repeated: the client sent the request before: what was accepted
    then is not accepted again.

    Raises:
        TooManyStreams, StreamsFull, DatabaseAway: nobody could wait for it, so nothing was accepted.
        DomainError: see `accept`.

    """
    with services.feed.subscription(caller.user_id) as subscription:
        await subscription.position()
        accepted, left = await sync_to_thread(_accepted, services, caller, asked, repeated)
        yield Waiting(services, caller, accepted, subscription, left)


async def draw(
    services: Services, caller: Caller, asked: Asked, receive: Receive, *, repeated: bool
) -> tuple[list[Drawn], str]:
    """Return the images of a request when they are drawn, and the id of the record to note as answered.

    Raises:
        DrawingFailed: not one was drawn.
        ClientGone: it has left; nobody reads an answer.
        DomainError: see `accepted_for`.

    """
    async with accepted_for(services, caller, asked, repeated=repeated) as waiting:
        await while_connected(waiting.until_over(), receive)
    if not waiting.is_over:
        raise ClientGone
    return await waiting.drawn(), waiting.record_id


def unfinished(services: Services, caller: Caller, generation_ids: Sequence[str]) -> set[str]:
    """Return those of some generations that have not ended."""
    with services.uow.read() as tx:
        found = _followed(tx, caller, generation_ids)
    return {one.generation.id for one in found if not has_ended(one.generation.status)}


def _accepted(services: Services, caller: Caller, asked: Asked, repeated: bool) -> tuple[Accepted, set[str]]:
    if repeated and (taken := take_up(services, caller, asked, RepeatableRequests.resume)) is not None:
        return taken, unfinished(services, caller, taken.generation_ids)
    accepted = accept_all(services, caller, asked, str(uuid4()))
    return accepted, set(accepted.generation_ids)


def _drawn(services: Services, caller: Caller, generation_ids: Sequence[str]) -> list[Drawn]:
    with services.uow.read() as tx:
        found = _followed(tx, caller, generation_ids)
        captured = Ledger(tx).captured(generation_ids)
    drawn = [
        Drawn(
            one.generation,
            captured.get(one.generation.id, 0),
            one.image_key,
            services.images.read(one.image_key, Variant.FULL),
        )
        for one in found
        if one.image_key is not None
    ]
    if not drawn:
        raise failure(one.generation for one in found)
    return drawn


def failure(generations: Iterable[Generation]) -> DrawingFailed:
    """Return why not one of some generations has an image."""
    failed = next((one for one in generations if one.error_code), None)
    return DrawingFailed(
        failed.error_code if failed and failed.error_code else Reason.CANCELLED.value,
        failed.error_message if failed and failed.error_message else "It was deleted.",
    )


def _followed(tx: Transaction, caller: Caller, generation_ids: Sequence[str]) -> list[Followed]:
    """Return those of the generations that were not deleted meanwhile."""
    found = []
    for generation_id in generation_ids:
        with suppress(NotFound):
            found.append(service.follow(tx, caller, generation_id))
    return found
