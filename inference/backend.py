"""The interface of every backend: its input, its result and its progress reports."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Protocol

from catalog.entries import Adapter
from catalog.orders import Order, Provenance
from inference.errors import DeviceBroken

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
    """The start of a phase, or the end of a denoising step (1 to steps).

    preview: makes a small picture of what is drawn so far, an eighth of the image's width; to be called, if
    somebody wants to see it, before the report returns.
    """

    phase: Phase
    step: int = 0
    steps: int = 0
    preview: "Callable[[], Image] | None" = field(default=None, repr=False, compare=False)


Report = Callable[[Progress], None]
"""Called at every phase and step. It may raise to stop the generation; the backend remains usable."""


@dataclass(frozen=True)
class Picture:
    """A finished image, checked to be finite and not flat, with its provenance and the seconds per phase."""

    image: "Image"
    provenance: Provenance
    seconds: Mapping[Phase, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True)
class BatchRow:
    """One order of a batch, and where its progress is reported."""

    order: Order
    report: Report


@dataclass(frozen=True)
class Device:
    """What a backend draws on, in words, and how full its memory is; None where it has none of its own."""

    name: str
    used_bytes: int | None = None
    total_bytes: int | None = None


RowOutcome = Picture | Exception
"""A row's picture, or the exception that ended this row alone."""


class Backend(Protocol):
    """Generates pictures from orders. Used by one thread at a time."""

    @property
    def resident(self) -> frozenset[str]:
        """The ids of the models whose pipelines are ready in the accelerator's memory."""
        ...

    @property
    def device(self) -> Device:
        """What it draws on, as it is now."""
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

    def largest_batch(self, order: Order) -> int:
        """Return how many rows with the batch key of this order may be drawn together."""
        del order
        return 1

    def generate_batch(self, rows: Sequence[BatchRow]) -> list[RowOutcome]:
        """Draw orders of one batch key; return the outcome of each row, in their order.

        An exception that ends one row, such as one from its report, is that row's outcome.

        Raises:
            InferenceError: the batch failed as a whole; any of its rows may be drawn alone.

        """
        return [picture_or_error(self, row) for row in rows]

    def close(self) -> None:
        """Release the accelerator's memory."""
        ...


def picture_or_error(backend: Backend, row: BatchRow) -> RowOutcome:
    """Draw a row alone, and return its outcome."""
    try:
        return backend.generate(row.order, row.report)
    except DeviceBroken:
        raise
    except Exception as error:  # noqa: BLE001 - whatever stops this row must not stop the others
        return error


def picture_of(outcome: RowOutcome) -> Picture:
    """Return a row's picture, or raise what has ended the row."""
    if isinstance(outcome, Exception):
        raise outcome
    return outcome
