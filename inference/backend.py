"""What every backend takes and gives, and how it reports its progress."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from catalog.entries import Adapter
from catalog.orders import Order, Provenance

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
class Picture:
    """A finished image, checked finite and not flat, and how it came about."""

    image: "Image"
    provenance: Provenance
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
