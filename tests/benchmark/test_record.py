"""Numbers and their targets."""

import pytest

from benchmark.record import Figure, percentile
from benchmark.reference import HOSTED, own_usd
from catalog.entries import shipped_entries


class TestFigure:
    def test_targets(self):
        """A figure meets its maximum or minimum; without a target `met` is None."""
        assert Figure("a", 2, "s", at_most=2).met
        assert not Figure("a", 2.1, "s", at_most=2).met
        assert Figure("a", 100, "/s", at_least=100).met
        assert not Figure("a", 99, "/s", at_least=100).met
        assert Figure("a", 1, "s").met is None


class TestPercentile:
    def test_values(self):
        """The 95th percentile of 0 to 100 is 95, and a single value is its own percentile."""
        assert percentile(range(101), 95) == 95
        assert percentile([3.0], 95) == 3.0


class TestHosted:
    def test_every_entry(self):
        """The hosted figures cover every entry of the catalogue, and no other."""
        assert set(HOSTED) == {entry.short_key for entry in shipped_entries()}

    def test_cost(self):
        """An image of 3.6 seconds takes a thousandth of an hour of the card."""
        assert own_usd(3.6, 2.5) == pytest.approx(0.0025)
