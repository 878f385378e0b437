"""Drawing while the client waits: what a dialect's one request is in use cases."""

import hashlib
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Final

from litestar.concurrency import sync_to_thread
from litestar.types import Receive

from catalog.prompts import fold
from catalog.selection import Wish
from server.accounts.repository import Users
from server.caller import Caller
from server.credits.repository import Ledger
from server.db.unit_of_work import Transaction
from server.errors import DatabaseAway, NotFound
from server.generations import service
from server.generations.service import Followed
from server.generations.states import Reason, has_ended
from server.generations.submission import GenerationRequest, accept
from server.generations.tables import Generation
from server.http.errors import ClientGone, DrawingFailed
from server.http.event_feed import StreamsFull, Subscription
from server.http.event_stream import while_connected
from server.http.services import Services
from server.idempotency.repetitions import RepeatableRequests
from server.images.store import Variant
from server.projects import service as projects
from server.routes.generations import limits_of

MAX_NAME_CHARS: Final = 100
LOOK_S: Final = 15.0
"""How long a wait in which nothing happens lasts at most until it looks at the database."""


@dataclass(frozen=True)
class Asked:
    """What a client asks for: some images of one prompt. seed: of the first; None draws each."""

    prompt: str
    wish: Wish
    seed: int | None = None
    images: int = 1

    def requests(self, project_id: str) -> list[GenerationRequest]:
        """Return what the use case takes, one for each image."""
        return [
            GenerationRequest(
                project_id=project_id,
                name=fold(self.prompt[:MAX_NAME_CHARS]),
                prompt=self.prompt,
                wish=self.wish,
                seed=None if self.seed is None else (self.seed + number) % 2**32,
            )
            for number in range(self.images)
        ]

    @property
    def digest(self) -> str:
        """Equal for equal requests."""
        return hashlib.sha256(repr(self).encode()).hexdigest()


@dataclass(frozen=True)
class Accepted:
    """What was accepted for a request. record_id: of what its repetition finds."""

    record_id: str
    generation_ids: list[str]
    unfinished: set[str]


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
    ) -> None:
        self.services = services
        self.caller = caller
        self.generation_ids = accepted.generation_ids
        self.record_id = accepted.record_id
        self._subscription = subscription
        self._unfinished = accepted.unfinished

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
        if not frames:  # of a deleted generation no event comes
            self._unfinished = await sync_to_thread(self._read_unfinished)
        if self._unfinished and self._subscription.ended:
            raise StreamsFull

    async def until_over(self) -> None:
        """Wait for every image.

        Raises:
            StreamsFull: see `look`.

        """
        while not self.is_over:
            await self.look(LOOK_S)

    async def drawn(self) -> list[Drawn]:
        """Return the images that were drawn.

        Raises:
            DrawingFailed: not one was drawn.

        """
        return await sync_to_thread(_drawn, self.services, self.caller, self.generation_ids)

    def _read_unfinished(self) -> set[str]:
        with self.services.uow.read() as tx:
            return _unfinished(tx, self.caller, self.generation_ids)


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
        accepted = await sync_to_thread(_accept, services, caller, asked, repeated)
        yield Waiting(services, caller, accepted, subscription)


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


def note_answered(services: Services, record_id: str) -> None:
    """Note that an answer was sent: a later request that is equal is another one.

    If that cannot be noted, a repetition gets this answer again, for an hour.
    """
    with suppress(DatabaseAway), services.uow.begin() as tx:
        RepeatableRequests(tx).answered(record_id)


def _accept(services: Services, caller: Caller, asked: Asked, repeated: bool) -> Accepted:
    limits = limits_of(services.settings)
    project_id = projects.first(services.uow, caller).id
    with services.uow.begin() as tx:
        Users(tx).lock(caller.user_id)  # of two repetitions at once, each takes up another request
        kept = RepeatableRequests(tx)
        if repeated and (record := kept.resume(caller.user_id, asked.digest)) is not None:
            unfinished = _unfinished(tx, caller, record.generation_ids)
            return Accepted(record.id, record.generation_ids, unfinished)
        ids = [accept(tx, caller, request, limits).generation.id for request in asked.requests(project_id)]
        accepted = Accepted(kept.keep(caller.user_id, asked.digest, ids), ids, set(ids))
    for generation_id in ids:
        services.wakeups.note(generation_id)
    return accepted


def _unfinished(tx: Transaction, caller: Caller, generation_ids: Sequence[str]) -> set[str]:
    found = _followed(tx, caller, generation_ids)
    return {one.generation.id for one in found if not has_ended(one.generation.status)}


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
        failed = next((one.generation for one in found if one.generation.error_code), None)
        raise DrawingFailed(
            failed.error_code if failed and failed.error_code else Reason.CANCELLED.value,
            failed.error_message if failed and failed.error_message else "It was deleted.",
        )
    return drawn


def _followed(tx: Transaction, caller: Caller, generation_ids: Sequence[str]) -> list[Followed]:
    """Return those of the generations that were not deleted meanwhile."""
    found = []
    for generation_id in generation_ids:
        with suppress(NotFound):
            found.append(service.follow(tx, caller, generation_id))
    return found
