"""The stream of an image: what it becomes, and the image, as OpenAI's clients read it."""

import base64
import time
from contextlib import suppress
from io import BytesIO
from typing import Any, Final

from litestar.concurrency import sync_to_thread
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send
from PIL import Image

from catalog.orders import Order
from server.caller import Caller
from server.dialects.drawing import Drawn, Waiting, accepted_for, note_answered
from server.dialects.formats import encoded
from server.dialects.openai.bodies import CompletedShape, Format, GenerateImages, PartialShape, Usage
from server.dialects.openai.errors import shape_of
from server.errors import DomainError, NotFound
from server.generations import previews
from server.http.event_messages import HEARTBEAT
from server.http.event_stream import MEDIA_TYPE, send_body, send_start, while_connected
from server.http.services import Services

STILL_LOOKING_S: Final = 8.0
"""While nothing happens, a preview is asked for so often: one is made for 20 s after it was."""


class ImageStream(ASGIResponse):
    """Accepts a request, and sends its partial images and its image as they come.

    What fails before anything was accepted is answered as an error, and what fails later is an event.
    """

    def __init__(
        self,
        services: Services,
        caller: Caller,
        data: GenerateImages,
        model_key: str | None,
        *,
        repeated: bool,
    ) -> None:
        super().__init__(media_type=MEDIA_TYPE)
        self._services = services
        self._caller = caller
        self._data = data
        self._asked = data.asked(model_key)
        self._repeated = repeated

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
            await self._send_partial_images(waiting, send)
            while not waiting.is_over:
                await send_body(send, HEARTBEAT)
                await waiting.look(STILL_LOOKING_S)
            [drawn] = await waiting.drawn()
            event = await sync_to_thread(self._completed, drawn)
        except DomainError as error:
            await send_body(send, b"event: error\ndata: " + shape_of(error) + b"\n\n")
        else:
            await send_body(send, event)
            await sync_to_thread(note_answered, self._services, waiting.record_id)
        await send_body(send, b"", more=False)

    async def _send_partial_images(self, waiting: Waiting, send: Send) -> None:
        """Send previews, evenly over the steps; what is drawn before it is seen has fewer."""
        wanted, sent = self._data.partial_images or 0, 0
        [generation_id] = waiting.generation_ids
        with suppress(NotFound):  # it has ended, or was deleted
            while sent < wanted and not waiting.is_over:
                event = await sync_to_thread(self._partial, generation_id, sent)
                if event is not None:
                    sent += 1
                await send_body(send, event or HEARTBEAT)
                await waiting.look(STILL_LOOKING_S)

    def _partial(self, generation_id: str, index: int) -> bytes | None:
        """Return the event with the newest preview, if it is that far; and have the next one made.

        Raises:
            NotFound: the generation has ended, or was deleted.

        """
        seen = previews.look(self._services.uow, self._caller, generation_id)
        if seen is None or seen.step < seen.order.steps * (index + 1) / (
            (self._data.partial_images or 0) + 1
        ):
            return None
        image = _enlarged(seen.image, (seen.order.width_px, seen.order.height_px), self._format)
        return _event(PartialShape(partial_image_index=index, **self._told(image, seen.order)))

    def _completed(self, drawn: Drawn) -> bytes:
        image = encoded(drawn.png, self._format, self._data.compression)
        told = self._told(image, drawn.generation.order)
        return _event(CompletedShape(usage=Usage.of(drawn.credits), **told))

    def _told(self, image: bytes, order: Order) -> dict[str, Any]:
        """Return what both kinds of events tell."""
        return {
            "b64_json": base64.b64encode(image).decode(),
            "created_at": int(time.time()),
            "output_format": self._format,
            "quality": self._data.quality or "auto",
            "size": f"{order.width_px}x{order.height_px}",
        }

    @property
    def _format(self) -> Format:
        return self._data.output_format or "png"


def _event(shape: CompletedShape | PartialShape) -> bytes:
    return f"event: {shape.type}\ndata: {shape.model_dump_json()}\n\n".encode()


def _enlarged(preview: bytes, size_px: tuple[int, int], kind: str) -> bytes:
    """Return a preview in the size and the format of the image."""
    file = BytesIO()
    with Image.open(BytesIO(preview)) as small:
        small.resize(size_px, Image.Resampling.BICUBIC).save(file, "PNG")
    return encoded(file.getvalue(), kind)
