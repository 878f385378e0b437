"""The interface of every backend: its input, its result and its progress reports."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from catalog.entries import Adapter
from catalog.orders import Order, Provenance

if TYPE_CHECKING:
    from PIL.Image import Image


class Phase(StrEnum):
    """The current activity of a backend; the worker sets a separate deadline for each phase."""

    LOAD = "load"
    ENCODE = "encode"
    STEP = "step"
    DECODE = "decode"
    HOSTED = "hosted"
    """Calling hosted providers, including the waits between retries."""


@dataclass(frozen=True)
class Progress:
    """The start of a phase, or the end of a denoising step (1 to steps)."""

    phase: Phase
    step: int = 0
    steps: int = 0


Report = Callable[[Progress], None]
"""Called at every phase and step. It may raise to stop the generation; the backend remains usable."""


@dataclass(frozen=True)
class Picture:
    """A finished image, checked to be finite and not flat, with its provenance and the seconds per phase."""

    image: "Image"
    provenance: Provenance
    seconds: Mapping[Phase, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


class Backend(Protocol):
    """Generates pictures from orders. Used by one thread at a time."""

    @property
    def resident(self) -> frozenset[str]:
        """The ids of the models whose pipelines are ready in the accelerator's memory."""
        ...

    def warm_up(self, model_id: str, revision: str | None, adapter: Adapter | None) -> None:
        """Make a pipeline resident before the first order needs it.

        Raises:
            InferenceError: see `generate`.

        """
        ...

    def generate(self, order: Order, report: Report) -> Picture:
        """Draw the order; report each phase when it begins and each step when it ends.

        Raises:
            InferenceError: one subclass per cause, each with the error code for the client.

        """
        ...

    def close(self) -> None:
        """Release the accelerator's memory."""
        ...
