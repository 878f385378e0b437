"""The bodies of A1111's API, as far as they mean something here. Source: Open WebUI, its router of images."""

import base64
import json
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field

from catalog.entries import Entry
from catalog.prompts import MAX_CHARS, MIN_CHARS
from catalog.selection import Wish
from server.dialects.asking import Asked
from server.dialects.checks import refuse
from server.dialects.drawing import Drawn
from server.dialects.formats import PlainRequest, PlainView
from server.http.bodies import Fold

MAX_IMAGES: Final = 10
ANY_SEED: Final = -1

ModelName = Annotated[str, Field(max_length=128)]


class Options(PlainRequest):
    """The options that a client sets. Clients send all of them back, most of them unchanged."""

    sd_model_checkpoint: ModelName | None = None


class TextToImage(PlainRequest):
    """The body of POST /sdapi/v1/txt2img. What it has beside this is ignored.

    Its clients always name steps, guidance and a sampler, by their own settings: these are ignored as well.
    """

    prompt: Annotated[str, Field(min_length=MIN_CHARS, max_length=MAX_CHARS), Fold]
    width: int | None = None
    height: int | None = None
    batch_size: Annotated[int, Field(ge=1, le=MAX_IMAGES)] = 1
    n_iter: Annotated[int, Field(ge=1, le=MAX_IMAGES)] = 1
    seed: Annotated[int, Field(ge=ANY_SEED, le=2**32 - 1)] = ANY_SEED
    override_settings: Options = Options()

    def asked(self, chosen: str) -> Asked:
        """Return what is to be drawn. chosen: the key of the entry, unless the request names one.

        Raises:
            InputInvalid: it asks for too many images.

        """
        images = self.batch_size * self.n_iter
        too_many = f"with n_iter, there may be at most {MAX_IMAGES} images"
        refuse(batch_size=too_many if images > MAX_IMAGES else None)
        key = self.override_settings.sd_model_checkpoint or chosen
        wish = Wish(width_px=self.width, height_px=self.height, model_key=key)
        return Asked("a1111", self.prompt, wish, None if self.seed == ANY_SEED else self.seed, images)


class ImagesShape(PlainView):
    """The images that were drawn, in base64, and how. info: JSON in a text."""

    images: list[str]
    parameters: dict[str, Any]
    info: str

    @classmethod
    def of(cls, data: TextToImage, drawn: list[Drawn]) -> Self:
        """Return the answer to a request."""
        generations = [one.generation for one in drawn]
        order = generations[0].order
        info = {
            "prompt": data.prompt,
            "seed": order.seed,
            "all_seeds": [one.order.seed for one in generations],
            "width": order.width_px,
            "height": order.height_px,
            "steps": order.steps,
            "cfg_scale": order.guidance_scale,
            "sd_model_name": generations[0].entry_key.rpartition(":")[2],
            "credits": sum(one.credits for one in drawn),
        }
        return cls(
            images=[base64.b64encode(one.png).decode() for one in drawn],
            parameters=data.model_dump(),
            info=json.dumps(info),
        )


class ModelShape(PlainView):
    """An entry that the caller may use."""

    title: str
    model_name: str
    hash: None = None
    sha256: None = None
    filename: str
    config: None = None

    @classmethod
    def of(cls, entry: Entry) -> Self:
        """Return an entry under its short key."""
        return cls(title=entry.short_key, model_name=entry.short_key, filename=entry.model_id)


class OptionsShape(PlainView):
    """What is set."""

    sd_model_checkpoint: str
    samples_format: Literal["png"] = "png"
