"""What can go wrong while an image is made: one class a cause."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

FLAT_LEVELS: Final = 1.0
"""Of 255: a portrait's pixels deviate by tens; NaN decoded to black or a censored image by none."""


class InferenceError(Exception):
    """A generation cannot be drawn. `code` is the generation's errorCode; the text names no prompt."""

    code: ClassVar[str] = "INTERNAL_ERROR"
    operators: ClassVar[bool] = False
    """Whether nothing of the kind will succeed until an operator acts."""

    attempts: tuple[Mapping[str, Any], ...] = ()
    """What hosted providers were asked before it came to this, as JSON values."""


class WeightsMissing(InferenceError):
    """A model or adapter is not on this machine and cannot be fetched."""

    code = "MODEL_LOADING"
    operators = True

    def __init__(self, model_id: str, cause: str) -> None:
        super().__init__(f"The weights of {model_id} could not be loaded: {cause}")
        self.model_id = model_id
        self.cause = cause


class AdapterMismatch(InferenceError):
    """A LoRA's keys or shapes do not fit the transformer, wholly or in part: it must not be applied."""

    code = "MODEL_LOADING"
    operators = True

    def __init__(self, model_id: str, cause: str) -> None:
        super().__init__(f"The adapter {model_id} does not fit its base model: {cause}")
        self.model_id = model_id
        self.cause = cause


class ImageNotFinite(InferenceError):
    """The latents or the decoded image hold NaN or infinity."""

    def __init__(self, where: str) -> None:
        super().__init__(f"The {where} are not finite")
        self.where = where


class ImageFlat(InferenceError):
    """The decoded image is one even colour."""

    def __init__(self, deviation: float) -> None:
        super().__init__(f"The image is flat: its pixels deviate by {deviation:.2g} levels")
        self.deviation = deviation


class OutOfMemory(InferenceError):
    """The accelerator's memory does not suffice."""

    code = "OUT_OF_MEMORY"

    def __init__(self, device: str) -> None:
        super().__init__(f"The memory of {device} does not suffice for this generation")
        self.device = device
