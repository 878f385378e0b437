"""The bodies of OpenAI's API of images, as far as they mean something here. Source: openai 3.57, types."""

import re
from typing import Annotated, Final, Literal

from pydantic import Field, field_validator
from pydantic_core import PydanticCustomError

from catalog.prompts import MAX_CHARS, MIN_CHARS
from catalog.selection import Wish, WishedQuality
from server.dialects.asking import Asked
from server.dialects.formats import BEST, PlainRequest, PlainView
from server.http.bodies import Fold

SIZE: Final = re.compile(r"([0-9]{1,5})x([0-9]{1,5})")
MAX_IMAGES: Final = 10
QUALITIES: Final = {
    "low": WishedQuality.FAST,
    "medium": WishedQuality.BALANCED,
    "standard": WishedQuality.BALANCED,
    "high": WishedQuality.QUALITY,
    "xhigh": WishedQuality.ULTRA,
    "max": WishedQuality.ULTRA,
    "hd": WishedQuality.ULTRA,
}

Format = Literal["png", "jpeg", "webp"]


class GenerateImages(PlainRequest):
    """The body of POST /v1/images/generations. What it has beside this is ignored.

    seed: of the first image; the next ones have the following numbers. OpenAI has none: it is `extra_body`.
    """

    prompt: Annotated[str, Field(min_length=MIN_CHARS, max_length=MAX_CHARS), Fold]
    model: Annotated[str | None, Field(max_length=128)] = None
    n: Annotated[int | None, Field(ge=1, le=MAX_IMAGES)] = None
    size: str | None = None
    quality: Literal["auto", "low", "medium", "standard", "high", "xhigh", "max", "hd"] | None = None
    output_format: Format | None = None
    output_compression: Annotated[int | None, Field(ge=0, le=100)] = None
    response_format: Literal["url", "b64_json"] | None = None
    background: Literal["auto", "opaque"] | None = None
    stream: bool | None = None
    partial_images: Annotated[int | None, Field(ge=0, le=3)] = None
    seed: Annotated[int | None, Field(ge=0, le=2**32 - 1)] = None

    @field_validator("size")
    @classmethod
    def _is_a_size(cls, value: str | None) -> str | None:
        if value is not None and value != "auto" and not SIZE.fullmatch(value):
            raise PydanticCustomError("size", "Size must be WIDTHxHEIGHT, such as 1024x1024, or auto")
        return value

    @property
    def compression(self) -> int:
        """The quality of JPEG and WebP."""
        return BEST if self.output_compression is None else self.output_compression

    def asked(self, model_key: str | None) -> Asked:
        """Return what is to be drawn. model_key: of the entry that `model` means."""
        found = SIZE.fullmatch(self.size or "")
        width_px, height_px = (int(found[1]), int(found[2])) if found else (None, None)
        wish = Wish(
            width_px=width_px,
            height_px=height_px,
            model_key=model_key,
            quality=QUALITIES.get(self.quality or "auto"),
        )
        return Asked("openai", self.prompt, wish, self.seed, self.n or 1)


class ImageShape(PlainView):
    """One image: its bytes in base64, or the address of the PNG, or both."""

    b64_json: str | None
    url: str | None


class TokenDetails(PlainView):
    """What the tokens were of."""

    image_tokens: int
    text_tokens: int


class Usage(PlainView):
    """What the images cost. One token is one credit: nothing else is counted here."""

    input_tokens: int
    input_tokens_details: TokenDetails
    output_tokens: int
    total_tokens: int

    @classmethod
    def of(cls, credits_: int) -> "Usage":
        """Return the usage of so many credits."""
        nothing = TokenDetails(image_tokens=0, text_tokens=0)
        return cls(
            input_tokens=0, input_tokens_details=nothing, output_tokens=credits_, total_tokens=credits_
        )


class ImagesShape(PlainView):
    """The images that were drawn: as many as were asked for, or those that did not fail."""

    created: int
    background: Literal["opaque"] = "opaque"
    data: list[ImageShape]
    output_format: Format
    quality: str | None
    size: str
    usage: Usage


class EventShape(PlainView):
    """An event of a stream: an image, or what it is about to become."""

    b64_json: str
    background: Literal["opaque"] = "opaque"
    created_at: int
    output_format: Format
    quality: str
    size: str


class CompletedShape(EventShape):
    """The image was drawn."""

    type: Literal["image_generation.completed"] = "image_generation.completed"
    usage: Usage


class PartialShape(EventShape):
    """What the image is about to become, in its size."""

    type: Literal["image_generation.partial_image"] = "image_generation.partial_image"
    partial_image_index: int


class ModelShape(PlainView):
    """An entry that the caller may use."""

    id: str
    object: Literal["model"] = "model"
    created: int
    owned_by: str


class ModelsShape(PlainView):
    """The entries that the caller may use."""

    object: Literal["list"] = "list"
    data: list[ModelShape]


class ErrorShape(PlainView):
    """What went wrong. param: the field at fault."""

    message: str
    type: str
    param: str | None
    code: str | None
