"""Properties that hold for any catalogue, any user and any wish."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from catalog.entries import Entry, Quality, shipped_entries
from catalog.selection import (
    Choice,
    EntryBeyondTier,
    NoEntryAvailable,
    SizeRejected,
    UnknownEntry,
    Wish,
    WishedQuality,
    choose,
    select_entry,
)
from catalog.tiers import Tier
from tests.server.uploads.mutations import DEEP

pytestmark = pytest.mark.deep

BASE, REALISM, *_ = shipped_entries()
KEYS = [f"key-{number}" for number in range(6)]
arbitrary = settings(max_examples=5_000 if DEEP else 100, deadline=None)


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    """Draw any valid entry; its limits need not be a square."""
    sides = {}
    for side in ("width", "height"):
        own = draw(st.sampled_from([512, 768, 1024]))
        sides |= {f"{side}_px": own, f"max_{side}_px": own + draw(st.sampled_from([0, 8, 256, 512]))}
    return replace(
        BASE,
        key=draw(st.sampled_from(KEYS)),
        tier=draw(st.sampled_from(Tier)),
        credit_cost=draw(st.integers(0, 4)),
        quality=draw(st.sampled_from(Quality)),
        adapter=draw(st.sampled_from([None, REALISM.adapter])),
        fast_mode=draw(st.booleans()),
        enabled=draw(st.sampled_from([True, True, True, False])),
        **sides,
    )


catalogues = st.lists(entries(), max_size=6, unique_by=lambda entry: entry.key)
tiers = st.sampled_from(Tier)
lengths = st.none() | st.integers(31, 140).map(lambda steps: steps * 16) | st.integers()
wishes = st.builds(
    Wish,
    lengths,
    lengths,
    st.none() | st.sampled_from([*KEYS, "unknown"]),
    st.booleans(),
    st.booleans(),
    st.none() | st.sampled_from(WishedQuality),
)


def outcome(catalogue: list[Entry], tier: Tier, wish: Wish) -> Choice | Exception:
    """Return the choice or its named error. Any other error fails the test."""
    try:
        return choose(catalogue, tier, wish)
    except (NoEntryAvailable, UnknownEntry, EntryBeyondTier, SizeRejected) as error:
        return error


def legal(size_px: int, limit_px: int) -> bool:
    return 512 <= size_px <= limit_px and size_px % 16 == 0


class TestChoose:
    @arbitrary
    @given(catalogue=catalogues, tier=tiers, wish=wishes)
    def test_total(self, catalogue: list[Entry], tier: Tier, wish: Wish) -> None:
        """Any request gets an entry at a size that it can draw, or one of the four named errors."""
        result = outcome(catalogue, tier, wish)
        if isinstance(result, Choice):
            assert legal(result.width_px, result.entry.max_width_px)
            assert legal(result.height_px, result.entry.max_height_px)

    @arbitrary
    @given(catalogue=catalogues, tier=tiers, wish=wishes)
    def test_within_reach(self, catalogue: list[Entry], tier: Tier, wish: Wish) -> None:
        """A chosen entry is in the catalogue, enabled, and of a tier that the user's tier reaches."""
        result = outcome(catalogue, tier, wish)
        if isinstance(result, Choice):
            assert result.entry in catalogue
            assert result.entry.enabled
            assert list(Tier).index(result.entry.tier) <= list(Tier).index(tier)

    @arbitrary
    @given(catalogue=catalogues, tier=tiers, wish=wishes)
    def test_price(self, catalogue: list[Entry], tier: Tier, wish: Wish) -> None:
        """Enterprise pays nothing, and all other users pay the entry's price."""
        result = outcome(catalogue, tier, wish)
        if isinstance(result, Choice):
            assert result.credits == (0 if tier is Tier.ENTERPRISE else result.entry.credit_cost)
            assert (result.credits == 0) is (tier is Tier.ENTERPRISE or result.entry.credit_cost == 0)

    @arbitrary
    @given(catalogue=catalogues, tier=tiers, wish=wishes, order=st.randoms(use_true_random=False))
    def test_order_of_entries(self, catalogue: list[Entry], tier: Tier, wish: Wish, order: Random) -> None:
        """The order in which the database returns the entries changes neither the choice nor the error."""
        shuffled = order.sample(catalogue, len(catalogue))
        first, second = outcome(catalogue, tier, wish), outcome(iter(shuffled), tier, wish)
        assert first == second or (type(first), str(first)) == (type(second), str(second))

    @arbitrary
    @given(catalogue=catalogues, tier=tiers, wish=wishes)
    def test_size_as_requested(self, catalogue: list[Entry], tier: Tier, wish: Wish) -> None:
        """A requested side is drawn as requested; a missing side equals the other, or the entry's own."""
        result = outcome(catalogue, tier, wish)
        if isinstance(result, Choice):
            own = (result.entry.width_px, result.entry.height_px)
            requested = (wish.width_px, wish.height_px)
            first = next((side for side in requested if side is not None), None)
            expected = own if first is None else tuple(first if side is None else side for side in requested)
            assert (result.width_px, result.height_px) == expected

    @arbitrary
    @given(catalogue=catalogues, tier=tiers, wish=wishes)
    def test_each_error_is_true(self, catalogue: list[Entry], tier: Tier, wish: Wish) -> None:
        """An error is raised only for the cause that it names, and names only values of the request."""
        result = outcome(catalogue, tier, wish)
        enabled = {entry.key: entry for entry in catalogue if entry.enabled}
        if isinstance(result, NoEntryAvailable):
            assert wish.model_key is None
            assert not any(tier.reaches(entry.tier) for entry in enabled.values())
        if isinstance(result, UnknownEntry):
            assert wish.model_key == result.model_key
            assert result.model_key not in enabled
        if isinstance(result, EntryBeyondTier):
            assert wish.model_key == result.model_key
            assert result.required is enabled[result.model_key].tier
            assert not tier.reaches(result.required)
        if isinstance(result, SizeRejected):
            side_px = {"width": wish.width_px, "height": wish.height_px}[result.field]
            assert result.size_px == side_px
            assert any(entry.name in result.rule for entry in catalogue) or not legal(side_px, side_px)

    @arbitrary
    @given(catalogue=catalogues, tier=tiers, wish=wishes)
    def test_named_entry(self, catalogue: list[Entry], tier: Tier, wish: Wish) -> None:
        """A wish that names an entry gets that entry or an error, never another entry."""
        result = outcome(catalogue, tier, wish)
        if isinstance(result, Choice) and wish.model_key is not None:
            assert result.entry.key == wish.model_key

    @arbitrary
    @given(catalogue=catalogues, tier=st.sampled_from([Tier.FREE, Tier.BASIC, Tier.PRO]), wish=wishes)
    def test_preferences(self, catalogue: list[Entry], tier: Tier, wish: Wish) -> None:
        """A preference for realism gets it if it is within reach; no preference gets the cheapest entry."""
        reach = [entry for entry in catalogue if entry.enabled and tier.reaches(entry.tier)]
        assume(reach)
        entry = select_entry(catalogue, tier, replace(wish, model_key=None, quality=None))
        if wish.prefer_realism:
            assert entry.realism is any(other.realism for other in reach)
        elif wish.prefer_speed and any(other.fast_mode for other in reach):
            assert entry.fast_mode
        else:
            assert entry.credit_cost == min(other.credit_cost for other in reach)

    @arbitrary
    @given(catalogue=catalogues, wish=wishes)
    def test_enterprise(self, catalogue: list[Entry], wish: Wish) -> None:
        """Enterprise gets the highest enabled quality with any preferences."""
        enabled = [entry.quality for entry in catalogue if entry.enabled]
        assume(enabled)
        plain = replace(wish, model_key=None, quality=None)
        assert select_entry(catalogue, Tier.ENTERPRISE, plain).quality == max(enabled)

    @arbitrary
    @given(catalogue=catalogues, tier=tiers, wish=wishes, quality=st.sampled_from(WishedQuality))
    def test_wished_quality(
        self, catalogue: list[Entry], tier: Tier, wish: Wish, quality: WishedQuality
    ) -> None:
        """A wished quality is met where an entry of it is within reach; otherwise the highest one is."""
        reach = [entry.quality for entry in catalogue if entry.enabled and tier.reaches(entry.tier)]
        assume(reach)
        entry = select_entry(catalogue, tier, replace(wish, model_key=None, quality=quality))
        assert entry.quality == (quality.of_entry if quality.of_entry in reach else max(reach))


def test_the_strategies_reach_every_outcome() -> None:
    """The strategies above generate requests with each of the five outcomes."""
    kinds = set()

    @settings(max_examples=300, deadline=None, database=None, derandomize=True)
    @given(catalogue=catalogues, tier=tiers, wish=wishes)
    def collect(catalogue: list[Entry], tier: Tier, wish: Wish) -> None:
        kinds.add(type(outcome(catalogue, tier, wish)))

    collect()
    assert kinds == {Choice, NoEntryAvailable, UnknownEntry, EntryBeyondTier, SizeRejected}
