"""The stream of an image as fal's clients read it: results, of which the last one is the image."""

from catalog.orders import Order
from server.dialects.addresses import data_uri
from server.dialects.drawing import Drawn
from server.dialects.fal.bodies import ImageShape, ResultShape
from server.dialects.fal.errors import shape_of
from server.dialects.streams import ImageStream
from server.errors import DomainError
from server.generations.previews import Picture

PREVIEWS = 3


class ResultStream(ImageStream):
    """Sends previews in the shape of results, and the result. Its addresses hold the images."""

    def _preview(self, seen: Picture, index: int) -> bytes:
        del index
        return _event(self._result(seen.order, data_uri(seen.image, "jpeg"), "image/jpeg"))

    def _completed(self, drawn: Drawn) -> bytes:
        return _event(self._result(drawn.generation.order, data_uri(drawn.png), "image/png"))

    def _failed(self, error: DomainError) -> bytes:
        return b"event: error\ndata: " + shape_of(error) + b"\n\n"

    def _result(self, order: Order, address: str, kind: str) -> ResultShape:
        image = ImageShape(url=address, width=order.width_px, height=order.height_px, content_type=kind)
        return ResultShape(
            images=[image],
            timings={},
            seed=order.seed,
            has_nsfw_concepts=[False],
            prompt=self._asked.prompt,
        )


def _event(result: ResultShape) -> bytes:
    return f"data: {result.model_dump_json()}\n\n".encode()
