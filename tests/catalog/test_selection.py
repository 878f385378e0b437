from dataclasses import replace

import pytest

from catalog.entries import Entry, shipped_entries
from catalog.selection import (
    Choice,
    EntryBeyondTier,
    NoEntryAvailable,
    SizeRejected,
    UnknownEntry,
    Wish,
    WishedQuality,
    choose,
    lowest_price,
    price,
    select_entry,
)
from catalog.tiers import Tier

ENTRIES = shipped_entries()
BASE, REALISM, HD, FAST = ENTRIES
FREE, BASIC, PRO, ENTERPRISE = Tier
SIZES = [(512, 512), (512, 1024), (768, 768), (1008, 1024), (1024, 1008), (1024, 1024), (None, None)]


def without(*disabled: Entry) -> list[Entry]:
    """Return the shipped entries with the given ones disabled."""
    return [replace(entry, enabled=entry not in disabled) for entry in ENTRIES]


class TestSelectionTable:
    @pytest.mark.parametrize(("width", "height"), SIZES)
    def test_free(self, width: int | None, height: int | None) -> None:
        """A free user gets the base entry for 8 credits at any size within its maximum."""
        choice = choose(ENTRIES, FREE, Wish(width, height))
        assert (choice.entry, choice.credits) == (BASE, 8)

    @pytest.mark.parametrize(("width", "height"), SIZES)
    def test_basic(self, width: int | None, height: int | None) -> None:
        """A basic user gets the realism entry for 12 credits at any size within its maximum."""
        choice = choose(ENTRIES, BASIC, Wish(width, height))
        assert (choice.entry, choice.credits) == (REALISM, 12)

    @pytest.mark.parametrize(("width", "height"), [size for size in SIZES if size != (1024, 1024)])
    def test_pro_below_hd(self, width: int | None, height: int | None) -> None:
        """A pro user with a side below 1024, or without a size, gets the realism entry for 12 credits."""
        choice = choose(ENTRIES, PRO, Wish(width, height))
        assert (choice.entry, choice.credits) == (REALISM, 12)

    @pytest.mark.parametrize(("width", "height"), [(1024, 1024), (1024, 1536), (1040, 1024), (1536, 1536)])
    def test_pro_hd(self, width: int | None, height: int | None) -> None:
        """A pro user who asks for 1024x1024 or more gets the HD entry for 15 credits."""
        choice = choose(ENTRIES, PRO, Wish(width, height))
        assert (choice.entry, choice.credits) == (HD, 15)

    @pytest.mark.parametrize(("width", "height"), [*SIZES, (1536, 1536), (512, 1536)])
    def test_enterprise(self, width: int | None, height: int | None) -> None:
        """An enterprise user gets the HD entry for 0 credits at any size."""
        choice = choose(ENTRIES, ENTERPRISE, Wish(width, height))
        assert (choice.entry, choice.credits) == (HD, 0)


class TestRealismPreference:
    def test_one_long_side(self) -> None:
        """The HD entry draws a pro user's banner that only it can draw, although the banner is not HD."""
        assert select_entry(ENTRIES, PRO, Wish(1536, 512)) is HD

    def test_hd_entry_disabled(self) -> None:
        """With the HD entry disabled, a pro user's HD request goes to the realism entry."""
        assert choose(without(HD), PRO, Wish(1024, 1024)) == Choice(REALISM, 1024, 1024, 12)

    def test_cheap_realism_disabled(self) -> None:
        """With the realism entry disabled, a pro user's small request goes to the HD entry at its price."""
        assert choose(without(REALISM), PRO, Wish(768, 768)) == Choice(HD, 768, 768, 15)

    @pytest.mark.parametrize("tier", [BASIC, PRO, ENTERPRISE])
    def test_realism_disabled(self, tier: Tier) -> None:
        """With both realism entries disabled all users get the base entry, not the faster schnell entry."""
        assert select_entry(without(REALISM, HD), tier, Wish(1024, 1024)).key == BASE.key

    def test_only_schnell_within_reach(self) -> None:
        """With all dev entries disabled a pro user gets the schnell entry."""
        assert select_entry(without(BASE, REALISM, HD), PRO, Wish()).key == FAST.key

    def test_realism_outranks_speed(self) -> None:
        """A preference for speed changes nothing if realism is preferred too."""
        assert select_entry(ENTRIES, PRO, Wish(prefer_speed=True)) is REALISM

    def test_ties_of_quality(self) -> None:
        """Among entries of the highest quality the larger is chosen, then the cheaper, then the first key."""
        small = replace(HD, key="b", adapter=None, max_width_px=1024, max_height_px=1024)
        dear = replace(HD, key="c", adapter=None, credit_cost=20)
        first, second = (replace(HD, key=key, adapter=None) for key in ("a", "d"))
        assert select_entry([small, second, dear, first], PRO, Wish()) is first
        assert select_entry([small, second, dear], PRO, Wish()) is second
        assert select_entry([small, dear], PRO, Wish()) is dear

    def test_ties_of_resolution(self) -> None:
        """An HD request gets the entry with the larger own size, then the cheaper, then the first key."""
        small, dear = replace(HD, key="a", width_px=768), replace(HD, key="b", credit_cost=20)
        first, second = replace(HD, key="c"), replace(HD, key="d")
        wish = Wish(1024, 1024)
        assert select_entry([second, small, dear, first], PRO, wish) is first
        assert select_entry([small, dear], PRO, wish) is dear


class TestSpeedPreference:
    @pytest.mark.parametrize("tier", [BASIC, PRO])
    def test_fast(self, tier: Tier) -> None:
        """A user above free who prefers speed and not realism gets schnell for 6 credits."""
        choice = choose(ENTRIES, tier, Wish(prefer_realism=False, prefer_speed=True))
        assert (choice.entry, choice.credits) == (FAST, 6)

    def test_free_reaches_no_fast_entry(self) -> None:
        """A free user who prefers speed gets the cheapest entry within reach, the base entry."""
        assert select_entry(ENTRIES, FREE, Wish(prefer_realism=False, prefer_speed=True)) is BASE

    def test_neither(self) -> None:
        """A user who prefers neither realism nor speed gets the cheapest entry within reach."""
        assert select_entry(ENTRIES, PRO, Wish(prefer_realism=False)) is FAST
        assert select_entry(without(FAST), PRO, Wish(prefer_realism=False)).key == BASE.key

    def test_speed_outranks_price(self) -> None:
        """Only a user who prefers speed gets schnell if it is not the cheapest entry."""
        dear = replace(FAST, credit_cost=9)
        assert select_entry([BASE, dear], PRO, Wish(prefer_realism=False, prefer_speed=True)) is dear
        assert select_entry([BASE, dear], PRO, Wish(prefer_realism=False)) is BASE

    def test_ties_of_price(self) -> None:
        """Among the cheapest entries the smaller is chosen, then the first key."""
        large, second, first = replace(BASE, key="a", max_width_px=1536), replace(BASE, key="c"), BASE
        assert select_entry([large, second, first], FREE, Wish(prefer_realism=False)) is first
        assert select_entry([large, second], FREE, Wish(prefer_realism=False)) is second

    def test_enterprise(self) -> None:
        """An enterprise user gets the best entry even with a preference for speed."""
        assert select_entry(ENTRIES, ENTERPRISE, Wish(prefer_realism=False, prefer_speed=True)) is HD


class TestNamedEntry:
    @pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.key)
    @pytest.mark.parametrize("tier", list(Tier))
    def test_tier(self, tier: Tier, entry: Entry) -> None:
        """A named entry is chosen at its own size and price, or refused if the tier does not reach it."""
        wish = Wish(model_key=entry.key)
        if tier.rank >= entry.tier.rank:
            credits_due = 0 if tier is ENTERPRISE else entry.credit_cost
            assert choose(ENTRIES, tier, wish) == Choice(entry, entry.width_px, entry.height_px, credits_due)
        else:
            with pytest.raises(EntryBeyondTier) as refused:
                choose(ENTRIES, tier, wish)
            assert (refused.value.model_key, refused.value.required) == (entry.key, entry.tier)
            assert refused.value.tier is tier

    @pytest.mark.parametrize("tier", list(Tier))
    @pytest.mark.parametrize("key", ["", "flux-dev", "AVATAR-CREATOR:FLUX-DEV-BASE", HD.key])
    def test_unknown_or_disabled(self, tier: Tier, key: str) -> None:
        """Unknown keys and keys of disabled entries get the same error, before any check of the tier."""
        with pytest.raises(UnknownEntry) as refused:
            choose(without(HD), tier, Wish(model_key=key))
        assert refused.value.model_key == key

    @pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.key)
    def test_the_short_form_of_a_key(self, entry: Entry) -> None:
        """A key without the application's id names the same entry."""
        assert choose(ENTRIES, PRO, Wish(model_key=entry.short_key)).entry == entry

    def test_outranks_preferences(self) -> None:
        """A named entry outranks every preference, and its maximum size applies."""
        wish = Wish(1024, 1024, BASE.key, prefer_speed=True, quality=WishedQuality.ULTRA)
        assert choose(ENTRIES, PRO, wish) == Choice(BASE, 1024, 1024, 8)


class TestWishedQuality:
    @pytest.mark.parametrize(
        ("quality", "free", "basic", "pro"),
        [
            ("fast", BASE, FAST, FAST),
            ("balanced", BASE, BASE, BASE),
            ("quality", BASE, REALISM, REALISM),
            ("ultra", BASE, REALISM, HD),
        ],
    )
    def test_table(self, quality: str, free: Entry, basic: Entry, pro: Entry) -> None:
        """Each quality is one entry; a tier that does not reach it gets the highest that it reaches."""
        wish = Wish(quality=WishedQuality(quality))
        assert [select_entry(ENTRIES, tier, wish) for tier in (FREE, BASIC, PRO)] == [free, basic, pro]
        assert select_entry(ENTRIES, ENTERPRISE, wish) == pro

    def test_the_best_of_equals(self) -> None:
        """Of two entries of the wished quality the larger is taken."""
        larger = replace(BASE, key="larger", max_width_px=1536)
        assert select_entry([BASE, larger], FREE, Wish(quality=WishedQuality.BALANCED)) == larger

    def test_it_overrides_the_preferences(self) -> None:
        """A wished quality is stronger than the preference for realism or speed."""
        wish = Wish(quality=WishedQuality.BALANCED, prefer_realism=False, prefer_speed=True)
        assert select_entry(ENTRIES, PRO, wish) == BASE


class TestNothingWithinReach:
    @pytest.mark.parametrize("tier", list(Tier))
    @pytest.mark.parametrize("entries", [[], without(*ENTRIES)], ids=["empty", "disabled"])
    def test_nothing_enabled(self, tier: Tier, entries: list[Entry]) -> None:
        """An empty catalogue and a catalogue of disabled entries raise an error for every tier."""
        with pytest.raises(NoEntryAvailable):
            choose(entries, tier, Wish())

    def test_all_beyond_tier(self) -> None:
        """A free user gets an error if the base entry is disabled."""
        with pytest.raises(NoEntryAvailable):
            choose(without(BASE), FREE, Wish())


class TestSizes:
    @pytest.mark.parametrize("field", ["width", "height"])
    @pytest.mark.parametrize(
        ("tier", "size_px", "rule"),
        [
            (FREE, -512, "at least 512"),
            (FREE, 0, "at least 512"),
            (FREE, 496, "at least 512"),
            (FREE, 511, "at least 512"),
            (FREE, 520, "a multiple of 16"),
            (FREE, 1025, "at most 1024 for FLUX.1-dev Base"),
            (BASIC, 1025, "at most 1024 for FLUX.1-dev + Realism LoRA"),
            (BASIC, 1536, "at most 1024 for FLUX.1-dev + Realism LoRA"),
            (PRO, 1025, "a multiple of 16"),
            (PRO, 1552, "at most 1536 for FLUX.1-dev HD + Realism LoRA"),
            (ENTERPRISE, 1552, "at most 1536 for FLUX.1-dev HD + Realism LoRA"),
        ],
    )
    @pytest.mark.parametrize("other_px", [512, None])
    def test_rejected(self, field: str, tier: Tier, size_px: int, rule: str, other_px: int | None) -> None:
        """A side that is too small, too large or off the grid is refused with its field, limit and size."""
        sides = {"width_px": other_px, "height_px": other_px} | {f"{field}_px": size_px}
        with pytest.raises(SizeRejected) as refused:
            choose(ENTRIES, tier, Wish(**sides))
        assert (refused.value.field, refused.value.size_px, refused.value.rule) == (field, size_px, rule)
        assert str(refused.value) == f"{field} must be {rule}, not {size_px}"

    @pytest.mark.parametrize(
        ("tier", "limit_px"), [(FREE, 1024), (BASIC, 1024), (PRO, 1536), (ENTERPRISE, 1536)]
    )
    def test_limits_are_inclusive(self, tier: Tier, limit_px: int) -> None:
        """The smallest size and the largest size of the tier's largest entry are valid."""
        for size_px in (512, limit_px):
            choice = choose(ENTRIES, tier, Wish(size_px, size_px))
            assert (choice.width_px, choice.height_px) == (size_px, size_px)

    @pytest.mark.parametrize("wish", [Wish(width_px=640), Wish(height_px=640)])
    def test_one_side(self, wish: Wish) -> None:
        """A request with only one side gets a square."""
        choice = choose(ENTRIES, BASIC, wish)
        assert (choice.width_px, choice.height_px) == (640, 640)

    @pytest.mark.parametrize("wish", [Wish(width_px=1024), Wish(height_px=1024)])
    def test_one_hd_side(self, wish: Wish) -> None:
        """A request with only one side of 1024 gets an HD square."""
        assert choose(ENTRIES, PRO, wish) == Choice(HD, 1024, 1024, 15)

    @pytest.mark.parametrize(("tier", "size_px"), [(FREE, 512), (BASIC, 768), (PRO, 768), (ENTERPRISE, 1024)])
    def test_no_size(self, tier: Tier, size_px: int) -> None:
        """Without a size the image has the chosen entry's own size."""
        choice = choose(ENTRIES, tier, Wish())
        assert (choice.width_px, choice.height_px) == (size_px, size_px)

    @pytest.mark.parametrize(("field", "other"), [("width", "height"), ("height", "width")])
    def test_a_square_on_unequal_limits(self, field: str, other: str) -> None:
        """If the side that was not requested exceeds its limit, the error names the requested side."""
        narrow = replace(BASE, **{f"max_{other}_px": 768})
        with pytest.raises(SizeRejected) as refused:
            choose([narrow], FREE, Wish(**{f"{field}_px": 1024}))
        assert refused.value.field == field
        assert "768" in refused.value.rule


class TestPrice:
    @pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.key)
    def test_price(self, entry: Entry) -> None:
        """An entry costs its price in the catalogue, and 0 for enterprise."""
        assert [price(entry, tier) for tier in Tier] == [entry.credit_cost] * 3 + [0]

    def test_the_lowest_within_reach(self) -> None:
        """The lowest price is that of the cheapest enabled entry which the tier reaches, if there is one."""
        assert [lowest_price(ENTRIES, tier) for tier in Tier] == [8, 6, 6, 0]
        assert [lowest_price(without(FAST), tier) for tier in Tier] == [8, 8, 8, 0]
        assert [lowest_price(without(BASE), tier) for tier in Tier] == [None, 6, 6, 0]
        assert lowest_price([], ENTERPRISE) is None


class TestErrorMessages:
    def test_nothing_available(self) -> None:
        """When no entry is available, the error has the sentence of the contract."""
        with pytest.raises(NoEntryAvailable) as refused:
            choose([], FREE, Wish())
        assert str(refused.value) == "No AI models available for Avatar Creator"

    def test_unknown(self) -> None:
        """An unknown key is repeated after the name of its field, and the enabled entries are listed."""
        with pytest.raises(UnknownEntry) as refused:
            choose(without(BASE), FREE, Wish(model_key="nothing"))
        assert refused.value.available == (HD.short_key, REALISM.short_key, FAST.short_key)
        assert str(refused.value) == (
            "modelKey is no available model: nothing. "
            "Available: flux-dev-hd-realism, flux-dev-realism, flux-schnell-fast"
        )

    def test_beyond_the_tier(self) -> None:
        """An entry beyond the tier is refused with the tier that it needs and the tier of the account."""
        with pytest.raises(EntryBeyondTier) as refused:
            choose(ENTRIES, BASIC, Wish(model_key=HD.key))
        assert str(refused.value) == f"{HD.key} needs the pro tier; this account is basic"

    @pytest.mark.parametrize(("field", "other"), [("width", "height"), ("height", "width")])
    def test_a_square_too_large(self, field: str, other: str) -> None:
        """A side that is right by itself, and too long for a square, is refused with the square's limit."""
        narrow = replace(BASE, **{f"max_{other}_px": 768})
        with pytest.raises(SizeRejected) as refused:
            choose([narrow], FREE, Wish(**{f"{field}_px": 1024}))
        assert (refused.value.size_px, refused.value.rule) == (
            1024,
            f"at most 768 for a square of {BASE.name}",
        )


WIDE = {"max_width_px": 1536, "max_height_px": 1024}
TALL = {"max_width_px": 1024, "max_height_px": 1536}
SQUARE = {"max_width_px": 1024, "max_height_px": 1024}


class TestTiesByArea:
    @pytest.mark.parametrize("larger", [WIDE, TALL])
    @pytest.mark.parametrize("prefer_realism", [True, False])
    def test_limits(self, larger: dict[str, int], *, prefer_realism: bool) -> None:
        """Larger is what holds more pixels, lying or standing: it is the better of equals and the dearer."""
        small = replace(BASE, key="a", credit_cost=8, **SQUARE)
        large = replace(BASE, key="b", credit_cost=8, **larger)
        chosen = select_entry([small, large], FREE, Wish(prefer_realism=prefer_realism))
        assert chosen is (large if prefer_realism else small)

    @pytest.mark.parametrize(("width_px", "height_px"), [(768, 512), (512, 768)])
    @pytest.mark.parametrize("prefer_realism", [True, False])
    def test_sizes(self, width_px: int, height_px: int, *, prefer_realism: bool) -> None:
        """Of equal limits the entry that is larger by itself is the better one, the smaller the cheaper."""
        small, large = replace(BASE, key="a"), replace(BASE, key="b", width_px=width_px, height_px=height_px)
        chosen = select_entry([small, large], FREE, Wish(prefer_realism=prefer_realism))
        assert chosen is (large if prefer_realism else small)

    @pytest.mark.parametrize("larger", [WIDE, TALL])
    def test_limits_of_realism(self, larger: dict[str, int]) -> None:
        """An HD request takes the realism entry whose limits hold more pixels, lying or standing."""
        small, large = replace(HD, key="a", **SQUARE), replace(HD, key="b", **larger)
        assert select_entry([small, large], PRO, Wish(1024, 1024)) is large

    @pytest.mark.parametrize(("width_px", "height_px"), [(1024, 768), (768, 1024)])
    def test_sizes_of_realism(self, width_px: int, height_px: int) -> None:
        """Of equal limits an HD request takes the realism entry that is larger by itself, on either side."""
        small = replace(HD, key="a", width_px=768, height_px=768)
        large = replace(HD, key="b", width_px=width_px, height_px=height_px)
        assert select_entry([small, large], PRO, Wish(1024, 1024)) is large

    def test_limits_outweigh_sizes(self) -> None:
        """What an entry can draw at most counts before what it draws by itself."""
        wide = replace(BASE, key="b", max_width_px=1536)
        large = replace(BASE, key="a", width_px=1024, height_px=1024)
        assert select_entry([large, wide], FREE, Wish()) is wide
        assert select_entry([large, wide], FREE, Wish(prefer_realism=False)) is large
        realism = [replace(entry, adapter=REALISM.adapter) for entry in (large, wide)]
        assert select_entry(realism, FREE, Wish(1024, 1024)).key == "b"

    def test_price_outweighs_area(self) -> None:
        """The cheapest is taken for its price, though it be the largest."""
        cheap = replace(BASE, key="b", credit_cost=7, max_width_px=1536)
        assert select_entry([BASE, cheap], FREE, Wish(prefer_realism=False)) is cheap
