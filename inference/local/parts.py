"""What a plan of memory is made of: the parts of the pipelines, and the memory that drawing takes.

Records without torch; `inference.local.footprint` and `.activations` count their numbers on the meta device.
Bytes are bytes, and a GB is 1e9 of them.
"""

from dataclasses import dataclass
from enum import StrEnum

from catalog.entries import Entry


class Precision(StrEnum):
    """The number format of a part's matrices; vectors and embeddings are bf16 in all of them."""

    BF16 = "bf16"
    FP8 = "fp8"  # a byte a weight, with a scale a row; multiplied in fp8, from compute capability 8.9
    INT8 = "int8"  # as many bytes; weight-only, multiplied in bf16


class Place(StrEnum):
    """Where a part lies."""

    DEVICE = "device"
    PINNED = "pinned host"  # memory of the host that the device copies from by itself
    DISK = "disk"


@dataclass(frozen=True)
class Part:
    """A model, or the weights that a variant owns. Parts of equal digest are equal and held once.

    eight_bit_bytes: its size in fp8 or int8; as `bf16_bytes` for a part that is never quantised.
    largest_layer_bytes: of its layers in eight bits, the unit in which it is streamed.
    """

    name: str
    digest: str
    bf16_bytes: int
    eight_bit_bytes: int
    largest_layer_bytes: int

    def bytes_in(self, precision: Precision) -> int:
        """Return its size in a precision."""
        return self.bf16_bytes if precision is Precision.BF16 else self.eight_bit_bytes


@dataclass(frozen=True)
class Needs:
    """The parts that draw one entry.

    adapted: the weights that the entry's variant owns instead of the base's; None for the base itself.
    """

    entry: Entry
    transformer: Part
    adapted: Part | None
    t5: Part
    clip: Part
    vae: Part

    @property
    def own(self) -> tuple[Part, ...]:
        """The parts that no other base model shares."""
        return (self.transformer,) if self.adapted is None else (self.transformer, self.adapted)


@dataclass(frozen=True)
class Line:
    """Memory that grows linearly with an image's pixels."""

    fixed_bytes: float
    bytes_per_px: float

    def at(self, pixels: int) -> int:
        """Return the bytes for an image of that many pixels."""
        return round(self.fixed_bytes + self.bytes_per_px * pixels)

    @classmethod
    def through(cls, first: tuple[int, int], second: tuple[int, int]) -> "Line":
        """Return the line through two points, each of pixels and bytes."""
        slope = (second[1] - first[1]) / (second[0] - first[0])
        return cls(first[1] - slope * first[0], slope)


@dataclass(frozen=True)
class Activations:
    """The memory that each phase takes beside the weights. Nothing of one phase is left in the next.

    encode_bytes: T5 at its longest prompt. step: one row of a batch. decode: one row, since rows are decoded
    one by one.
    """

    encode_bytes: int
    step: Line
    decode: Line

    def peak_bytes(self, pixels: int, batch: int = 1, streamed_bytes: int = 0) -> int:
        """Return the most that drawing takes. streamed_bytes: of T5 on the device, while it encodes."""
        encode = self.encode_bytes + streamed_bytes
        return max(encode, batch * self.step.at(pixels), self.decode.at(pixels))
