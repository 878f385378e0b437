"""Errors of image generation: one class per cause."""

from collections.abc import Mapping
from typing import Any, ClassVar, Final

FLAT_LEVELS: Final = 1.0
"""The smallest standard deviation of a valid image's pixels, in levels of 255.

A portrait has tens of levels; a censored image, or NaN decoded to black, has none.
"""


class InferenceError(Exception):
    """A generation failed. `code` is the generation's errorCode; the message never quotes the prompt."""

    code: ClassVar[str] = "INTERNAL_ERROR"
    needs_operator: ClassVar[bool] = False
    """Whether an operator must act before such a generation can succeed."""

    attempts: tuple[Mapping[str, Any], ...] = ()
    """The failed attempts at hosted providers before this error, as JSON objects."""


class DeviceBroken(Exception):
    """The device has failed, and every call on it fails until a new process opens it.

    cause: in the words of its driver.
    """

    def __init__(self, device: str, cause: str) -> None:
        super().__init__(f"{device} has failed: {cause}")
        self.device = device
        self.cause = cause


class DeviceUnfit(Exception):
    """The device cannot draw, and no new process changes that: a card, a driver or a setting must.

    cause: a sentence, in the words of the driver if it has any.
    """

    def __init__(self, device: str, cause: str) -> None:
        super().__init__(f"{device} cannot draw: {cause}")
        self.device = device
        self.cause = cause


class WeightsMissing(InferenceError):
    """A model or adapter is not on this machine and cannot be downloaded."""

    code = "MODEL_LOADING"
    needs_operator = True

    def __init__(self, model_id: str, cause: str) -> None:
        super().__init__(f"The weights of {model_id} could not be loaded: {cause}")
        self.model_id = model_id
        self.cause = cause


class AdapterMismatch(InferenceError):
    """Some or all keys or shapes of a LoRA do not fit the transformer, so it must not be applied."""

    code = "MODEL_LOADING"
    needs_operator = True

    def __init__(self, model_id: str, cause: str) -> None:
        super().__init__(f"The adapter {model_id} does not fit its base model: {cause}")
        self.model_id = model_id
        self.cause = cause


class ImageNotFinite(InferenceError):
    """The latents or the decoded image contain NaN or infinity."""

    def __init__(self, where: str) -> None:
        super().__init__(f"The {where} are not finite")
        self.where = where


class ImageFlat(InferenceError):
    """The decoded image has a single uniform colour."""

    def __init__(self, deviation: float) -> None:
        super().__init__(f"The image is flat: its pixels deviate by {deviation:.2g} levels")
        self.deviation = deviation


class OutOfMemory(InferenceError):
    """The device's memory is too small for this generation."""

    code = "OUT_OF_MEMORY"

    def __init__(self, device: str) -> None:
        super().__init__(f"The memory of {device} is too small for this generation")
        self.device = device
