"""The report of a run."""

import json
from dataclasses import replace
from xml.etree import ElementTree as ET

import pytest
from PIL import Image

from benchmark.record import Record
from benchmark.reports import write_chart, write_report


class TestFiles:
    def test_all(self, record, tmp_path):
        """A run writes Markdown, JSON and two files of the chart to a folder that it makes."""
        text, files = write_report(record, tmp_path / "new")
        assert [file.name for file in files] == [f"benchmark.{kind}" for kind in ("md", "json", "png", "svg")]
        assert files[0].read_text("utf-8") == text + "\n"

    def test_nothing_drawn(self, record, tmp_path):
        """Without a measured entry there is no chart, and the other files are written."""
        _, files = write_report(replace(record, entries=record.entries[2:]), tmp_path)
        assert [file.suffix for file in files] == [".md", ".json"]


class TestJson:
    def test_there_and_back(self, record, tmp_path):
        """A written record reads back equal; the JSON also marks the figure that missed its target."""
        _, files = write_report(record, tmp_path)
        assert Record.read(files[1]) == record
        (figure,) = json.loads(files[1].read_text("utf-8"))["figures"]["drawing"]
        assert figure["met"] is False

    @pytest.mark.parametrize("text", ["no JSON", "{}", '{"figures": {}, "entries": [{}]}'])
    def test_another_file(self, text, tmp_path):
        """A file that holds something else is refused."""
        file = tmp_path / "other.json"
        file.write_text(text, "utf-8")
        with pytest.raises((ValueError, KeyError, TypeError)):
            Record.read(file)


class TestChart:
    def test_png(self, record, tmp_path):
        """The PNG is an image with more than ten colours."""
        png, _ = write_chart(record, tmp_path)
        with Image.open(png) as image:
            assert image.width > 1000
            assert len(image.convert("RGB").getcolors(1 << 20)) > 10

    def test_svg(self, record, tmp_path):
        """The SVG shows the measured entries and no other, with seconds and dollars."""
        _, svg = write_chart(record, tmp_path)
        words = " ".join(
            "".join(node.itertext())
            for node in ET.parse(svg).iter()  # noqa: S314  # we wrote it
            if node.tag.endswith("text")
        )
        for word in ("FLUX.1-dev Base", "3.6 s", "35 s", "0.002 $", "0.025 $", "0.05 $", "list price"):
            assert word in words
        assert "FLUX.1 with random weights on Imaginary GPU; commit 0123456789ab" in words
        assert "HD" not in words

    def test_without_a_price(self, record, tmp_path):
        """Without the card's price the chart shows no dollars."""
        _, svg = write_chart(replace(record, gpu_usd_per_hour=None), tmp_path)
        assert "dollars" not in svg.read_text("utf-8")

    def test_miniature(self, record, tmp_path):
        """A chart of the miniature says so in its title, is hatched, and has no hosted seconds beside it."""
        real = write_chart(record, tmp_path)[1].read_text("utf-8")
        drawn = write_chart(replace(record, weights="miniature"), tmp_path)[1].read_text("utf-8")
        assert "The miniature, which is not FLUX.1, on Imaginary GPU" in drawn
        assert ("<pattern" in real, "<pattern" in drawn) == (False, True)
        assert ("35 s" in real, "35 s" in drawn) == (True, False)

    def test_same_again(self, record, tmp_path):
        """The same record gives the same SVG, byte for byte."""
        first = write_chart(record, tmp_path)[1].read_bytes()
        assert write_chart(record, tmp_path)[1].read_bytes() == first
