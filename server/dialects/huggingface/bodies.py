"""The body of Hugging Face's text to image. Source: huggingface_hub 2.4, `hf_inference.py`."""

from typing import Annotated

from pydantic import Field

from catalog.entries import Entry
from catalog.prompts import MAX_CHARS, MIN_CHARS
from catalog.selection import Wish
from server.dialects.asking import Asked
from server.dialects.checks import NO_NEGATIVE_PROMPT, check_fixed, refuse
from server.dialects.formats import PlainRequest
from server.http.bodies import Fold


class Parameters(PlainRequest):
    """What a client may name beside the prompt. Steps and guidance that are not the entry's are refused."""

    width: int | None = None
    height: int | None = None
    seed: Annotated[int | None, Field(ge=0, le=2**32 - 1)] = None
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    negative_prompt: str | None = None

    def check(self, entry: Entry) -> None:
        """Check that nothing is asked for that is not drawn.

        Raises:
            InputInvalid: it names each parameter at fault, and what it would have to be.

        """
        check_fixed(
            entry,
            steps={"num_inference_steps": self.num_inference_steps},
            guidance={"guidance_scale": self.guidance_scale},
        )
        refuse(negative_prompt=NO_NEGATIVE_PROMPT if self.negative_prompt else None)


class TextToImage(PlainRequest):
    """The body of POST /models/{repo}. Parameters that mean nothing here are ignored."""

    inputs: Annotated[str, Field(min_length=MIN_CHARS, max_length=MAX_CHARS), Fold]
    parameters: Parameters = Parameters()

    def asked(self, entry: Entry) -> Asked:
        """Return what is to be drawn."""
        wish = Wish(width_px=self.parameters.width, height_px=self.parameters.height, model_key=entry.key)
        return Asked("huggingface", self.inputs, wish, self.parameters.seed)
