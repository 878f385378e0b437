"""Selects the entry, the image size and the price for a request. Pure functions, total over all inputs."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from catalog.entries import MIN_SIZE_PX, SIZE_STEP_PX, Entry, Quality
from catalog.tiers import Tier

HD_PX: Final = 1024  # a request is HD if neither side is smaller; Source: the contract, section 2


class NoEntryAvailable(LookupError):
    """No enabled entry is within the reach of the user's tier."""

    def __init__(self) -> None:
        super().__init__("No AI models available for Avatar Creator")  # Source: the contract, section 2


class UnknownEntry(LookupError):
    """The request names an entry that does not exist or is disabled. available: short keys of the others."""

    def __init__(self, model_key: str, available: tuple[str, ...]) -> None:
        super().__init__(f"modelKey is no available model: {model_key}. Available: {', '.join(available)}")
        self.model_key = model_key
        self.available = available


class EntryBeyondTier(PermissionError):
    """The request names an entry that the user's tier does not reach."""

    def __init__(self, model_key: str, required: Tier, tier: Tier) -> None:
        super().__init__(f"{model_key} needs the {required} tier; this account is {tier}")
        self.model_key = model_key
        self.required = required
        self.tier = tier


class SizeRejected(ValueError):
    """A width or height is too small, too large for the entry, or no multiple of the step."""

    def __init__(self, field: str, size_px: int, rule: str) -> None:
        super().__init__(f"{field} must be {rule}, not {size_px}")
        self.field = field
        self.size_px = size_px
        self.rule = rule


class WishedQuality(StrEnum):
    """A quality that a request may ask for instead of an entry."""

    FAST = "fast"
    BALANCED = "balanced"
    QUALITY = "quality"
    ULTRA = "ultra"

    @property
    def of_entry(self) -> Quality:
        """The quality of the entries that are meant."""
        return {
            WishedQuality.FAST: Quality.FAST,
            WishedQuality.BALANCED: Quality.STANDARD,
            WishedQuality.QUALITY: Quality.HIGH,
            WishedQuality.ULTRA: Quality.ULTRA,
        }[self]


@dataclass(frozen=True)
class Wish:
    """A request's wishes. Without one side the image is a square, without both it has the entry's size.

    model_key: an entry's key, or its short form; it overrides all other wishes but the size.
    quality: overrides the preferences. Where no entry of it is within reach, the best one is taken.
    """

    width_px: int | None = None
    height_px: int | None = None
    model_key: str | None = None
    prefer_realism: bool = True
    prefer_speed: bool = False
    quality: WishedQuality | None = None

    @property
    def size_px(self) -> tuple[int, int] | None:
        """The wished width and height: a square if only one side is set, None if neither is."""
        width_px = self.width_px if self.width_px is not None else self.height_px
        height_px = self.height_px if self.height_px is not None else self.width_px
        return None if width_px is None or height_px is None else (width_px, height_px)

    @property
    def hd(self) -> bool:
        """Whether both sides are HD."""
        return self.size_px is not None and min(self.size_px) >= HD_PX

    def fits(self, entry: Entry) -> bool:
        """Whether the entry can draw the wished size."""
        return self.size_px is None or entry.fits(*self.size_px)


@dataclass(frozen=True)
class Choice:
    """The entry that serves a request, the image's size in pixels and the price in credits."""

    entry: Entry
    width_px: int
    height_px: int
    credits: int


def choose(entries: Iterable[Entry], tier: Tier, wish: Wish) -> Choice:
    """Choose the entry, size and price for the wish of a user of this tier.

    Raises:
        UnknownEntry: the wish names an entry that does not exist or is disabled.
        EntryBeyondTier: the wish names an entry that the tier does not reach.
        NoEntryAvailable: no enabled entry is within reach of the tier.
        SizeRejected: the chosen entry cannot draw the wished size.

    """
    entry = select_entry(entries, tier, wish)
    width_px, height_px = wish.size_px or (entry.width_px, entry.height_px)
    # Only the sides that the request has set are checked here, so that an error names such a side.
    sides = {"width": wish.width_px, "height": wish.height_px}
    for field, limit_px in (("width", entry.max_width_px), ("height", entry.max_height_px)):
        size_px = sides[field]
        if size_px is None:
            continue
        if size_px < MIN_SIZE_PX:
            raise SizeRejected(field, size_px, f"at least {MIN_SIZE_PX}")
        if size_px > limit_px:
            raise SizeRejected(field, size_px, f"at most {limit_px} for {entry.name}")
        if size_px % SIZE_STEP_PX:
            raise SizeRejected(field, size_px, f"a multiple of {SIZE_STEP_PX}")
    if not entry.fits(width_px, height_px):  # the request set one side, and the entry's limits are unequal
        field = "width" if wish.width_px is not None else "height"
        limit_px = min(entry.max_width_px, entry.max_height_px)
        raise SizeRejected(field, width_px, f"at most {limit_px} for a square of {entry.name}")
    return Choice(entry, width_px, height_px, price(entry, tier))


def select_entry(entries: Iterable[Entry], tier: Tier, wish: Wish) -> Entry:
    """Select the entry for a wish, without checking the wished size against the entry's maximum.

    Raises:
        UnknownEntry, EntryBeyondTier, NoEntryAvailable: see `choose`.

    """
    enabled = [entry for entry in entries if entry.enabled]
    if wish.model_key is not None:
        return _named(enabled, tier, wish.model_key)
    within_reach = [entry for entry in enabled if tier.reaches(entry.tier)]
    if not within_reach:
        raise NoEntryAvailable
    if wish.quality is not None:
        wished = [entry for entry in within_reach if entry.quality is wish.quality.of_entry]
        return min(wished or within_reach, key=_best_first)
    if tier is Tier.ENTERPRISE:
        return min(within_reach, key=_best_first)
    if wish.prefer_realism:
        realism = [entry for entry in within_reach if entry.realism]
        return _realism(realism, wish) if realism else min(within_reach, key=_best_first)
    fast = [entry for entry in within_reach if entry.fast_mode] if wish.prefer_speed else []
    return min(fast or within_reach, key=_cheapest_first)


def price(entry: Entry, tier: Tier) -> int:
    """Return the cost of a generation in credits: the entry's price, or 0 for enterprise."""
    return 0 if tier is Tier.ENTERPRISE else entry.credit_cost


def lowest_price(entries: Iterable[Entry], tier: Tier) -> int | None:
    """Return the lowest cost of a generation for a user of this tier; None if no entry is within reach."""
    within_reach = (entry for entry in entries if entry.enabled and tier.reaches(entry.tier))
    return min((price(entry, tier) for entry in within_reach), default=None)


def _named(enabled: list[Entry], tier: Tier, model_key: str) -> Entry:
    for entry in enabled:
        if model_key in {entry.key, entry.short_key}:
            if not tier.reaches(entry.tier):
                raise EntryBeyondTier(model_key, entry.tier, tier)
            return entry
    raise UnknownEntry(model_key, tuple(sorted(entry.short_key for entry in enabled)))


def _realism(realism: list[Entry], wish: Wish) -> Entry:
    fitting = [entry for entry in realism if wish.fits(entry)]
    if wish.hd or not fitting:  # if none fits, the error should name the limit of the largest entry
        return min(realism, key=_largest_first)
    return min(fitting, key=_cheapest_first)


def _area_px(entry: Entry) -> tuple[int, int]:
    return entry.max_width_px * entry.max_height_px, entry.width_px * entry.height_px


def _largest_first(entry: Entry) -> tuple[int, int, int, str]:
    limit, default = _area_px(entry)
    return -limit, -default, entry.credit_cost, entry.key


def _best_first(entry: Entry) -> tuple[int, int, int, int, str]:
    limit, default = _area_px(entry)
    return -entry.quality.rank, -limit, -default, entry.credit_cost, entry.key


def _cheapest_first(entry: Entry) -> tuple[int, int, int, str]:
    limit, default = _area_px(entry)
    return entry.credit_cost, limit, default, entry.key
