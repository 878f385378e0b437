"""The stream of an image as OpenAI's clients read it."""

import base64
import time
from io import BytesIO
from typing import Any

from PIL import Image

from catalog.orders import Order
from server.caller import Caller
from server.dialects.drawing import Drawn
from server.dialects.formats import encoded
from server.dialects.openai.bodies import CompletedShape, Format, GenerateImages, PartialShape, Usage
from server.dialects.openai.errors import shape_of
from server.dialects.streams import ImageStream
from server.errors import DomainError
from server.generations.previews import Picture
from server.http.services import Services


class PartialImageStream(ImageStream):
    """Sends as many partial images as were asked for, and the image."""

    def __init__(
        self,
        services: Services,
        caller: Caller,
        data: GenerateImages,
        model_key: str | None,
        *,
        repeated: bool,
    ) -> None:
        wanted = data.partial_images or 0
        super().__init__(services, caller, data.asked(model_key), previews_wanted=wanted, repeated=repeated)
        self._data = data

    def _preview(self, seen: Picture, index: int) -> bytes:
        image = _enlarged(seen.image, (seen.order.width_px, seen.order.height_px), self._format)
        return _event(PartialShape(partial_image_index=index, **self._told(image, seen.order)))

    def _completed(self, drawn: Drawn) -> bytes:
        image = encoded(drawn.png, self._format, self._data.compression)
        told = self._told(image, drawn.generation.order)
        return _event(CompletedShape(usage=Usage.of(drawn.credits), **told))

    def _failed(self, error: DomainError) -> bytes:
        return b"event: error\ndata: " + shape_of(error) + b"\n\n"

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
