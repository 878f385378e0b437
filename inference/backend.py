"""What every backend takes and gives, and how it reports its progress."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from catalog.entries import Adapter, Entry

if TYPE_CHECKING:
    from PIL.Image import Image


class Phase(StrEnum):
    """What a backend is doing; each phase has a deadline of its own in the worker."""

    LOAD = "load"
    ENCODE = "encode"
    STEP = "step"
    DECODE = "decode"
    HOSTED = "hosted"
    """A provider is asked, or waited for."""


@dataclass(frozen=True)
class Progress:
    """A phase that begins, or the denoising step that has just ended (1 to steps)."""

    phase: Phase
    step: int = 0
    steps: int = 0


Report = Callable[[Progress], None]
"""Called at every phase and step. It may raise to stop the generation; the backend stays usable."""


@dataclass(frozen=True)
class Order:
    """All that determines an image: the same order on the same weights is the same image, bit for bit."""

    model_id: str
    revision: str | None
    adapter: Adapter | None
    prompt: str
    width_px: int
    height_px: int
    steps: int
    guidance_scale: float
    max_text_tokens: int
    seed: int

    @classmethod
    def of_entry(
        cls, entry: Entry, prompt: str, *, seed: int, size_px: tuple[int, int] | None = None
    ) -> "Order":
        """Order what an entry draws of a composed prompt. size_px: width and height, else the entry's own."""
        width_px, height_px = size_px or (entry.width_px, entry.height_px)
        return cls(
            model_id=entry.model_id,
            revision=entry.revision,
            adapter=entry.adapter,
            prompt=prompt,
            width_px=width_px,
            height_px=height_px,
            steps=entry.steps,
            guidance_scale=entry.guidance_scale,
            max_text_tokens=entry.max_text_tokens,
            seed=seed,
        )

    @classmethod
    def of_recipe(cls, recipe: Mapping[str, Any]) -> "Order":
        """Order what a generation has kept: these fields as JSON, the adapter an object or null."""
        adapter = recipe["adapter"]
        return cls(**{**recipe, "adapter": Adapter(**adapter) if adapter else None})


@dataclass(frozen=True)
class Making:
    """What an image was really made with.

    adapter: the one that was applied, at the scale at which it was. cost_microusd: millionths of a dollar,
    those of attempts that may have been charged among them. attempts: what providers were asked before.
    """

    backend: str
    model_id: str
    revision: str | None
    adapter: Adapter | None
    seed: int
    provider: str | None = None
    cost_microusd: int = 0
    attempts: tuple[Mapping[str, Any], ...] = ()

    @classmethod
    def of_order(cls, backend: str, order: Order) -> "Making":
        """Say that a backend drew an order just as it is."""
        return cls(backend, order.model_id, order.revision, order.adapter, order.seed)


@dataclass(frozen=True)
class Picture:
    """A finished image, checked finite and not flat, and how it came about."""

    image: "Image"
    making: Making
    seconds: Mapping[Phase, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class Backend(Protocol):
    """What turns an order into a picture. Used by one thread at a time."""

    @property
    def resident(self) -> frozenset[str]:
        """The model ids whose pipelines are in the accelerator's memory, ready."""
        ...

    def warm_up(self, model_id: str, revision: str | None, adapter: Adapter | None) -> None:
        """Make a pipeline resident before the first order asks for it.

        Raises:
            InferenceError: see `generate`.

        """
        ...

    def generate(self, order: Order, report: Report) -> Picture:
        """Draw the order, reporting each phase as it begins and each step as it ends.

        Raises:
            InferenceError: one subclass per cause, each with the code that a client reads.

        """
        ...

    def close(self) -> None:
        """Release the accelerator's memory."""
        ...
