from itertools import permutations

import pytest

from catalog.entries import Quality
from catalog.tiers import Tier

RISING = [Tier.FREE, Tier.BASIC, Tier.PRO, Tier.ENTERPRISE]


class TestTier:
    def test_names(self) -> None:
        """There are four tiers, named as the platform's tokens and database name them."""
        assert list(Tier) == ["free", "basic", "pro", "enterprise"]

    def test_rank(self) -> None:
        """A tier's rank is its position in rising order, from 0 for free."""
        assert [tier.rank for tier in RISING] == [0, 1, 2, 3]

    @pytest.mark.parametrize("order", list(permutations(RISING)))
    def test_sorted(self, order: tuple[Tier, ...]) -> None:
        """Tiers in any order sort by rank, not alphabetically."""
        assert sorted(order) == RISING

    @pytest.mark.parametrize("low", RISING)
    @pytest.mark.parametrize("high", RISING)
    def test_comparisons(self, low: Tier, high: Tier) -> None:
        """Each comparison of two tiers, or of a tier and a tier's name, compares their ranks."""
        for other in (high, high.value):
            assert (low < other) is (low.rank < high.rank)
            assert (low <= other) is (low.rank <= high.rank)
            assert (low > other) is (low.rank > high.rank)
            assert (low >= other) is (low.rank >= high.rank)

    def test_a_text_that_is_no_tier(self) -> None:
        """Comparing a tier with a text that is not a tier's name raises an error."""
        with pytest.raises(ValueError, match="gold"):
            assert Tier.FREE < "gold"

    @pytest.mark.parametrize("tier", RISING)
    def test_reaches(self, tier: Tier) -> None:
        """A tier reaches itself and every tier below it, and none above it."""
        assert [tier.reaches(required) for required in RISING] == [
            place <= tier.rank for place in range(len(RISING))
        ]


class TestQuality:
    def test_sorted(self) -> None:
        """Qualities sort as fast, standard, high, ultra, and not alphabetically."""
        assert sorted(["ultra", "standard", "high", "fast"], key=Quality) == [
            "fast",
            "standard",
            "high",
            "ultra",
        ]
