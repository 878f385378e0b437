"""Two records side by side."""

from dataclasses import replace

from benchmark.comparing import compare


def lines_of(text: str) -> dict[str, str]:
    return {
        line.split(" | ")[0].removeprefix("| "): line for line in text.splitlines() if line.startswith("| ")
    }


class TestCompare:
    def test_faster(self, record):
        """A figure that halves has a line with both values and 0.50."""
        base = record.entries[0]
        faster = replace(base, measured=replace(base.measured, p50_s=1.8))
        lines = lines_of(compare(record, replace(record, entries=[faster])))
        assert lines["flux-dev-base: p50"] == "| flux-dev-base: p50 | 3.6 s | 1.8 s | 0.50 |"

    def test_only_one_has_it(self, record):
        """A figure that only one of the records has keeps its line, without a ratio."""
        lines = lines_of(compare(record, replace(record, entries=record.entries[:1], figures={})))
        assert lines["flux-dev-realism: p50"] == "| flux-dev-realism: p50 | 7.2 s | — | — |"
        assert lines["drawing: peak memory"].endswith("| 1300 MiB | — | — |")

    def test_other_weights(self, record):
        """The text names the weights of two records that differ in them."""
        text = compare(record, replace(record, weights="real"))
        assert "A was drawn with random weights and B with real ones." in text
        assert "A was drawn" not in compare(record, record)

    def test_a_negative_value_has_no_ratio(self, record):
        """A figure with a negative value has no ratio."""
        realism = record.entries[1]
        odd = replace(realism, measured=replace(realism.measured, lora_adds_s=-0.1))
        lines = lines_of(compare(replace(record, entries=[odd]), record))
        assert lines["flux-dev-realism: lora adds"].endswith("| -0.1 s | 1.25 s | — |")
