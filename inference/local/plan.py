"""Where each part of the pipelines lies, at which precision, and why. A pure function without torch.

The first arrangement is taken in which every entry draws its largest image. If there is none, the one with
most room is taken, and each entry's largest image is what fits.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from catalog.entries import MIN_SIZE_PX, SIZE_STEP_PX, Entry
from inference.local.arrangements import (
    Arrangement,
    Budget,
    arrangements,
    key_of,
    largest_px,
    smallest_px,
)
from inference.local.cards import Card, Host
from inference.local.parts import Activations, Needs, Part, Place, Precision

MAX_BATCH: Final = 4
"""The most generations that are drawn together. Source: sglang PR 22183, larger batches gain no more."""


class CardTooSmall(Exception):
    """The smallest image of some entry fits in no arrangement."""

    def __init__(self, card: Card, needed_bytes: int) -> None:
        super().__init__(
            f"{card.name} is too small for FLUX.1: an image of {MIN_SIZE_PX}x{MIN_SIZE_PX} needs "
            f"{needed_bytes / 1e9:.1f} GB, and {max(0, card.usable_bytes) / 1e9:.1f} GB can be used"
        )
        self.card = card
        self.needed_bytes = needed_bytes


@dataclass(frozen=True)
class Placed:
    """A part and its place.

    place: where it lies when the worker has started.
    reloaded_from: where the copy lies from which it comes to the device again: after another base model had
    its place, or for each prompt if it is streamed. None if it never leaves the device.
    """

    part: Part
    precision: Precision
    place: Place
    reloaded_from: Place | None
    streamed: bool
    why: str

    @property
    def size_bytes(self) -> int:
        """Its size in its precision."""
        return self.part.bytes_in(self.precision)


@dataclass(frozen=True)
class PlannedEntry:
    """How an entry is drawn.

    model_bytes: of its base model with all variants.
    reloaded_from: where these lie while another base model has their place; None if all stay.
    swap_s: to bring them to the device again; 0 if all stay.
    largest_px: width and height of the largest image, at most the entry's limit.
    largest_batch: of images of the entry's usual size, or of its largest image if that is smaller.
    peak_bytes: the most on the device while one such image is drawn; CUDA's context comes to it.
    """

    entry: Entry
    precision: Precision
    place: Place
    model_bytes: int
    reloaded_from: Place | None
    swap_s: float
    largest_px: tuple[int, int]
    largest_batch: int
    peak_bytes: int


@dataclass(frozen=True)
class Plan:
    """Where everything lies on one card.

    models_limit_bytes: what base models may take of the device, beside the rest and the largest images.
    stream_s: what a prompt takes longer because T5 is streamed; 0 if it stays on the device.
    why: the arrangement, and what the preferred ones would have needed.
    """

    card: Card
    arrangement: Arrangement
    parts: tuple[Placed, ...]
    entries: tuple[PlannedEntry, ...]
    models_limit_bytes: int
    stream_s: float
    why: str

    @property
    def device_bytes(self) -> int:
        """The weights on the device when the worker has started."""
        return sum(placed.size_bytes for placed in self.parts if placed.place is Place.DEVICE)

    def largest_batch(self, model_id: str, pixels: int) -> int:
        """Return how many images of so many pixels may be drawn together; 1 for unusual ones."""
        entries = (each for each in self.entries if each.entry.model_id == model_id)
        fitting = (each for each in entries if pixels <= each.entry.width_px * each.entry.height_px)
        return max((each.largest_batch for each in fitting), default=1)

    @property
    def precisions(self) -> tuple[Precision, Precision]:
        """The precisions of transformers and of T5."""
        eight_bit, arrangement = self.card.eight_bit, self.arrangement
        return (
            eight_bit if arrangement.eight_bit else Precision.BF16,
            eight_bit if arrangement.eight_bit_t5 else Precision.BF16,
        )


def make_plan(
    card: Card,
    host: Host,
    needs: Sequence[Needs],
    activations: Activations,
    *,
    eight_bit: bool | None = None,
) -> Plan:
    """Choose the arrangement and place every part.

    eight_bit: whether transformers must have eight bits, or 16; None if either will do.

    Raises:
        CardTooSmall: the smallest image of some entry fits in no arrangement.

    """
    budgets = [Budget(card, arrangement, needs, activations) for arrangement in arrangements(eight_bit)]
    chosen = next((budget for budget in budgets if budget.lacking_bytes(largest_px) <= 0), None)
    if chosen is None:
        chosen = min(budgets, key=lambda budget: budget.lacking_bytes(smallest_px))
        if chosen.lacking_bytes(smallest_px) > 0:
            raise CardTooSmall(card, chosen.needed_bytes(smallest_px))
    parts = tuple(_Placing(chosen, host).placed())
    entries = tuple(_entry(chosen, host, parts, need) for need in needs)
    streams = (_copy_s(card, host, placed) for placed in parts if placed.streamed)
    peak_bytes = max(chosen.peak_bytes(math.prod(each.largest_px)) for each in entries)
    limit_bytes = card.usable_bytes - chosen.shared_bytes - peak_bytes
    return Plan(card, chosen.arrangement, parts, entries, limit_bytes, sum(streams), _why(budgets, chosen))


class _Placing:
    """Places the parts in the order of the catalogue; pins on the host as long as there is room."""

    def __init__(self, budget: Budget, host: Host) -> None:
        self._budget = budget
        self._pinnable_bytes = host.pinnable_bytes

    def placed(self) -> Iterator[Placed]:
        """Yield what all base models share, then each model with its variants."""
        for part in self._budget.shared.values():
            yield self._shared(part)
        first, *_ = self._budget.models
        for key, parts in self._budget.models.items():
            source = self._source(self._budget.model_bytes(key)) if self._budget.swaps else None
            place = Place.DEVICE if source is None or key == first else source
            for part in parts.values():
                precision = self._budget.precision(part)
                yield Placed(
                    part, precision, place, source, streamed=False, why=_why_there(place, source, precision)
                )

    def _shared(self, part: Part) -> Placed:
        precision = self._budget.precision(part)
        if not self._budget.is_streamed(part):
            why = _why_there(Place.DEVICE, None, precision)
            return Placed(part, precision, Place.DEVICE, None, streamed=False, why=why)
        source = self._source(part.bytes_in(precision))
        why = "The device has no room for it: its layers are copied one by one for each new prompt."
        return Placed(part, precision, source, source, streamed=True, why=why)

    def _source(self, size_bytes: int) -> Place:
        """Pin so many bytes on the host, or leave them on the disk if it has no room."""
        if size_bytes > self._pinnable_bytes:
            return Place.DISK
        self._pinnable_bytes -= size_bytes
        return Place.PINNED


def _why_there(place: Place, source: Place | None, precision: Precision) -> str:
    if source is None:
        fits = "as it is" if precision is Precision.BF16 else "in eight bits, not in bf16,"
        return f"Beside all that must be on the device, it fits {fits} and stays."
    held = (
        "in pinned memory" if source is Place.PINNED else "on the disk, since the host has no room to pin it"
    )
    if place is Place.DEVICE:
        return f"The catalogue's first base model is there at the start; a copy to return from is {held}."
    return f"One base model fits at a time: it waits {held}."


def _entry(budget: Budget, host: Host, parts: Sequence[Placed], need: Needs) -> PlannedEntry:
    own = [placed for placed in parts if placed.part.digest in budget.models[key_of(need.entry)]]
    transformer = next(placed for placed in own if placed.part == need.transformer)
    width_px, height_px = _largest(budget, need.entry)
    usual_px = min(need.entry.width_px * need.entry.height_px, width_px * height_px)
    room = budget.room_bytes(need.entry)
    return PlannedEntry(
        entry=need.entry,
        precision=transformer.precision,
        place=transformer.place,
        model_bytes=budget.model_bytes(key_of(need.entry)),
        reloaded_from=transformer.reloaded_from,
        swap_s=sum(_copy_s(budget.card, host, placed) for placed in own),
        largest_px=(width_px, height_px),
        largest_batch=max(
            batch for batch in range(1, MAX_BATCH + 1) if budget.peak_bytes(usual_px, batch) <= room
        ),
        peak_bytes=budget.card.usable_bytes - room + budget.peak_bytes(usual_px),
    )


def _largest(budget: Budget, entry: Entry) -> tuple[int, int]:
    """Return the entry's own limit if such an image fits, else the largest square that does."""
    room = budget.room_bytes(entry)
    if budget.peak_bytes(largest_px(entry)) <= room:
        return entry.max_width_px, entry.max_height_px
    sides = range(MIN_SIZE_PX, min(entry.max_width_px, entry.max_height_px) + 1, SIZE_STEP_PX)
    side = max(side for side in sides if budget.peak_bytes(side**2) <= room)
    return side, side


def _copy_s(card: Card, host: Host, placed: Placed) -> float:
    """Return the seconds to copy a part to the device again; the disk has it in bf16."""
    if placed.reloaded_from is None:
        return 0.0
    if placed.reloaded_from is Place.DISK:
        return placed.part.bf16_bytes / host.disk_bytes_per_s
    return placed.size_bytes / card.copy_bytes_per_s


def _why(budgets: Sequence[Budget], chosen: Budget) -> str:
    """Say what was chosen, and how much the arrangements before it need for the largest images."""
    preferred = budgets[: budgets.index(chosen)]
    usable = f"{chosen.card.usable_bytes / 1e9:.1f} GB can be used"
    words = (
        f"{chosen.arrangement.words}, {chosen.needed_bytes(largest_px) / 1e9:.1f} GB with the largest images"
    )
    needs = [f"{each.arrangement.words} {each.needed_bytes(largest_px) / 1e9:.1f} GB" for each in preferred]
    refused = f" Too large: {'; '.join(needs)}." if needs else ""
    return f"{words}; {usable}.{refused}"
