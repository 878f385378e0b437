"""What an image takes in a batch."""

from benchmark.batching import batch_figures, profiles_of
from benchmark.plan import Plan, Weights

MINIATURE = Weights("miniature")


class TestFigures:
    def test_the_share_of_an_image(self):
        """An image's seconds are the median of its batches' by their rows; without any it has no row."""
        figures = list(batch_figures("dev, fast", {1: [1.0, 9.0, 1.2], 2: [2.0], 4: []}))
        assert [(figure.name, figure.value) for figure in figures] == [
            ("batch, dev, fast: an image of a batch of 1, p50", 1.2),
            ("batch, dev, fast: an image of a batch of 2, p50", 1.0),
        ]


class TestProfiles:
    def test_exact_draws_no_batches(self):
        """Batches are drawn with the profiles that draw them, and with fast if only exact was named."""
        assert profiles_of(Plan(MINIATURE)) == ("fast",)
        assert profiles_of(Plan(MINIATURE, profiles=("exact", "turbo", "draft"))) == ("turbo", "draft")
