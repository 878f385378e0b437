"""The figures of drawing, and how far two profiles' pictures are apart."""

from PIL import Image

from benchmark.drawing import entry_figures, largest_difference, memory_figure


class TestDifference:
    def test_largest_of_all_channels(self, tmp_path):
        """The difference is that of the channel and the pixel that differ most, whichever is brighter."""
        exact, other = Image.new("RGB", (4, 4), (100, 100, 100)), Image.new("RGB", (4, 4), (101, 99, 100))
        other.putpixel((2, 3), (100, 93, 100))
        exact.save(tmp_path / "exact.png")
        other.save(tmp_path / "other.png")
        assert largest_difference(tmp_path / "exact.png", tmp_path / "other.png") == 7
        assert largest_difference(tmp_path / "exact.png", tmp_path / "exact.png") == 0


class TestTargets:
    def test_only_the_exact_miniature(self, record):
        """Only the miniature drawn exactly has targets; what another profile measures is named after it."""
        (base, *_) = record.entries
        (exact,) = entry_figures(base, "miniature")
        assert exact.name == "drawing flux-dev-base: 512 px, 28 steps, p50"
        assert exact.at_most == 2.0
        assert entry_figures(base, "random")[0].at_most is None
        assert memory_figure(1000, "cpu", "miniature", "exact").met
        fast = memory_figure(1000, "cpu", "miniature", "fast")
        assert (fast.name, fast.met) == ("drawing: peak memory of the process, fast", None)
