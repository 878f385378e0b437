"""The ways to fit FLUX.1 into a card's memory, in the order of preference, and what each of them takes.

Pure functions; needs no torch.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from catalog.entries import MIN_SIZE_PX, Entry
from inference.local.cards import Card
from inference.local.parts import Activations, Needs, Part, Precision

_STREAMED_LAYERS: Final = 2  # one is used while the next is copied

ModelKey = tuple[str, str | None]
"""A base model's id and its revision."""


@dataclass(frozen=True)
class Arrangement:
    """The precisions, and what leaves the device.

    in_turns: one base model is on the device at a time, with its variants; the others wait.
    streamed: T5 stays on the host, and passes through the device layer by layer for each new prompt.
    """

    words: str
    eight_bit: bool = True
    eight_bit_t5: bool = True
    in_turns: bool = False
    streamed: bool = False


ARRANGEMENTS: Final = (
    Arrangement("everything in bf16", eight_bit=False, eight_bit_t5=False),
    Arrangement("transformers in eight bits", eight_bit_t5=False),
    Arrangement("transformers and T5 in eight bits"),
    Arrangement("one base model at a time", in_turns=True),
    Arrangement("one base model at a time and T5 streamed", in_turns=True, streamed=True),
)
"""The best images first, then the least waiting."""

_IN_TURNS: Final = Arrangement(
    "one base model at a time, in bf16", eight_bit=False, eight_bit_t5=False, in_turns=True
)
"""Only for who insists on 16 bits: others wait less."""


def arrangements(eight_bit: bool | None = None) -> Sequence[Arrangement]:
    """Return the arrangements in the order of preference. eight_bit: of transformers; None for either."""
    if eight_bit is None:
        return ARRANGEMENTS
    return [each for each in (*ARRANGEMENTS, _IN_TURNS) if each.eight_bit is eight_bit]


def largest_px(entry: Entry) -> int:
    """Return the pixels of an entry's largest image."""
    return entry.max_width_px * entry.max_height_px


def smallest_px(_: Entry) -> int:
    """Return the pixels of the smallest image, which is the same for all entries."""
    return MIN_SIZE_PX**2


@dataclass(frozen=True)
class Budget:
    """The memory of a card in one arrangement. Parts of equal digest count once."""

    card: Card
    arrangement: Arrangement
    needs: Sequence[Needs]
    activations: Activations

    @cached_property
    def shared(self) -> dict[str, Part]:
        """The text models and VAEs, by digest; all base models may share them."""
        return {part.digest: part for need in self.needs for part in (need.t5, need.clip, need.vae)}

    @cached_property
    def models(self) -> dict[ModelKey, dict[str, Part]]:
        """Of each base model, the transformer and the variants' own weights, by digest."""
        models: dict[ModelKey, dict[str, Part]] = {}
        for need in self.needs:
            models.setdefault(key_of(need.entry), {}).update({part.digest: part for part in need.own})
        return models

    @property
    def swaps(self) -> bool:
        """Whether base models take turns on the device."""
        return self.arrangement.in_turns and len(self.models) > 1

    def precision(self, part: Part) -> Precision:
        """Return a part's precision; a part that is never quantised is in bf16."""
        is_t5 = part.digest in {need.t5.digest for need in self.needs}
        eight_bit = self.arrangement.eight_bit_t5 if is_t5 else self.arrangement.eight_bit
        quantised = eight_bit and part.eight_bit_bytes < part.bf16_bytes
        return self.card.eight_bit if quantised else Precision.BF16

    def is_streamed(self, part: Part) -> bool:
        """Whether a part passes through the device layer by layer."""
        return self.arrangement.streamed and part.digest in {need.t5.digest for need in self.needs}

    def model_bytes(self, key: ModelKey) -> int:
        """Return the bytes of a base model and its variants, without what others share."""
        return self._bytes(self.models[key].values())

    @cached_property
    def shared_bytes(self) -> int:
        """The bytes of what all base models share and what stays on the device."""
        return self._bytes(part for part in self.shared.values() if not self.is_streamed(part))

    def room_bytes(self, entry: Entry) -> int:
        """Return what is left for activations while an entry is drawn; negative if its weights do not fit."""
        keys = [key_of(entry)] if self.swaps else self.models
        return self.card.usable_bytes - self.shared_bytes - sum(map(self.model_bytes, keys))

    def peak_bytes(self, pixels: int, batch: int = 1) -> int:
        """Return the most that drawing a batch of images of that size takes beside the weights."""
        streamed = [part.largest_layer_bytes for part in self.shared.values() if self.is_streamed(part)]
        return self.activations.peak_bytes(pixels, batch, _STREAMED_LAYERS * max(streamed, default=0))

    def lacking_bytes(self, pixels_of: Callable[[Entry], int]) -> int:
        """Return what the card lacks to draw each entry at a size; negative if there is more than enough."""
        entries = [need.entry for need in self.needs]
        return max(self.peak_bytes(pixels_of(entry)) - self.room_bytes(entry) for entry in entries)

    def needed_bytes(self, pixels_of: Callable[[Entry], int]) -> int:
        """Return how much of a card must be usable to draw each entry at a size."""
        return self.card.usable_bytes + self.lacking_bytes(pixels_of)

    def _bytes(self, parts: Iterable[Part]) -> int:
        return sum(part.bytes_in(self.precision(part)) for part in parts)


def key_of(entry: Entry) -> ModelKey:
    """Return the key of an entry's base model."""
    return entry.model_id, entry.revision
