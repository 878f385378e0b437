"""Numbers and their targets."""

from benchmark.record import Figure, percentile
from benchmark.reference import HOSTED, own_usd
from catalog.entries import shipped_entries


class TestFigure:
    def test_targets(self):
        """A figure meets what it may be at most or must be at least, and nothing where there is no target."""
        assert Figure("a", 2, "s", at_most=2).met
        assert not Figure("a", 2.1, "s", at_most=2).met
        assert Figure("a", 100, "/s", at_least=100).met
        assert not Figure("a", 99, "/s", at_least=100).met
        assert Figure("a", 1, "s").met is None


class TestPercentile:
    def test_values(self):
        """The 95th of a hundred and one even values is the 95th, and that of one value is itself."""
        assert percentile(range(101), 95) == 95
        assert percentile([3.0], 95) == 3.0


class TestHosted:
    def test_every_entry(self):
        """The old figures know every entry of the catalogue, and no other."""
        assert set(HOSTED) == {entry.short_key for entry in shipped_entries()}

    def test_cost(self):
        """A thousand images of 3.6 seconds take an hour of the card."""
        assert own_usd(3.6, 2.5) == 2.5
