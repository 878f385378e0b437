"""What it costs to change the variant or the base model between two images."""

from benchmark.switching import swap_figures, variant_figures


def answers(name, *seconds, load_s=0.0):
    return [(name, {"draw_s": spent, "load_s": load_s}) for spent in seconds]


class TestVariant:
    def test_ratio_of_medians(self):
        """Drawing by turns is compared with drawing alone by medians, for the base and for its variant."""
        drawn = [
            *answers("base alone", 1.0, 1.0, 9.0),
            *answers("variant alone", 2.0),
            *answers("base by turns", 1.02),
            *answers("variant by turns", 2.2),
        ]
        base, variant, loads = variant_figures("exact", drawn)
        assert base.name == "variant, exact: base by turns / alone, p50"
        assert (base.value, base.met) == (1.02, True)
        assert not variant.met
        assert loads.met

    def test_load(self):
        """An image that had to load something misses the target."""
        drawn = [(name, {"draw_s": 1.0, "load_s": 0.0}) for name in ("base alone", "variant alone")]
        drawn += answers("base by turns", 1.0, load_s=0.5) + answers("variant by turns", 1.0)
        *_, loads = variant_figures("exact", drawn)
        assert (loads.value, loads.met) == (1, False)


class TestSwap:
    def test_median_by_model(self):
        """Each base model has the median of the seconds that it took to be ready again."""
        drawn = answers("dev", 3.0, load_s=0.6) + answers("schnell", 1.0, load_s=0.4)
        assert [(figure.name, figure.value) for figure in swap_figures("turbo", drawn)] == [
            ("swap, turbo: to dev after another, p50", 0.6),
            ("swap, turbo: to schnell after another, p50", 0.4),
        ]
