"""A stream of one image: what it is about to become, and the image, each as a dialect writes it."""

from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Final

from litestar.concurrency import sync_to_thread
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from server.caller import Caller
from server.dialects.asking import Asked, note_answered
from server.dialects.drawing import Drawn, Waiting, accepted_for
from server.errors import DomainError, NotFound
from server.generations import previews
from server.generations.previews import Picture
from server.http.event_messages import HEARTBEAT
from server.http.event_stream import MEDIA_TYPE, send_body, send_start, while_connected
from server.http.services import Services

STILL_LOOKING_S: Final = 8.0
"""While nothing happens, a preview is asked for so often: one is made for 20 s after it was."""


class ImageStream(ASGIResponse, ABC):
    """Accepts a request for one image, and sends its previews and the image as they come.

    What fails before anything was accepted is answered as an error, and what fails later is an event.
    """

    def __init__(
        self, services: Services, caller: Caller, asked: Asked, *, previews_wanted: int, repeated: bool
    ) -> None:
        super().__init__(media_type=MEDIA_TYPE)
        self._services = services
        self._caller = caller
        self._asked = asked
        self._wanted = previews_wanted
        self._repeated = repeated

    @abstractmethod
    def _preview(self, seen: Picture, index: int) -> bytes:
        """Return the event of a preview. index: from 0."""

    @abstractmethod
    def _completed(self, drawn: Drawn) -> bytes:
        """Return the event of the image."""

    @abstractmethod
    def _failed(self, error: DomainError) -> bytes:
        """Return the event of an error."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the stream, or as much of it as the client waits for.

        Raises:
            DomainError: see `accepted_for`; nothing was sent.

        """
        del scope
        async with accepted_for(
            self._services, self._caller, self._asked, repeated=self._repeated
        ) as waiting:
            await while_connected(self._send(waiting, send), receive)

    async def _send(self, waiting: Waiting, send: Send) -> None:
        await send_start(send, 200)
        try:
            await self._send_previews(waiting, send)
            while not waiting.is_over:
                await send_body(send, HEARTBEAT)
                await waiting.look(STILL_LOOKING_S)
            [drawn] = await waiting.drawn()
            event = await sync_to_thread(self._completed, drawn)
        except DomainError as error:
            await send_body(send, self._failed(error))
        else:
            await send_body(send, event)
            await sync_to_thread(note_answered, self._services, [waiting.record_id])
        await send_body(send, b"", more=False)

    async def _send_previews(self, waiting: Waiting, send: Send) -> None:
        """Send previews, evenly over the steps; what is drawn before it is seen has fewer."""
        sent = 0
        [generation_id] = waiting.generation_ids
        with suppress(NotFound):  # it has ended, or was deleted
            while sent < self._wanted and not waiting.is_over:
                event = await sync_to_thread(self._next_preview, generation_id, sent)
                if event is not None:
                    sent += 1
                await send_body(send, event or HEARTBEAT)
                await waiting.look(STILL_LOOKING_S)

    def _next_preview(self, generation_id: str, index: int) -> bytes | None:
        """Return the event with the newest preview, if it is that far; and have the next one made.

        Raises:
            NotFound: the generation has ended, or was deleted.

        """
        seen = previews.look(self._services.uow, self._caller, generation_id)
        if seen is None or seen.step < seen.order.steps * (index + 1) / (self._wanted + 1):
            return None
        return self._preview(seen, index)
