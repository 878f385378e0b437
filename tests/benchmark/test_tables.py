"""A record as Markdown."""

from dataclasses import replace

from benchmark.tables import as_markdown


def row_of(text: str, title: str, table: int) -> list[str]:
    """Return the cells of an entry's row in the first (0) or second (1) table that has it."""
    lines = [line for line in text.splitlines() if line.startswith(f"| {title} |")]
    return [cell.strip() for cell in lines[table].strip("|").split("|")]


class TestTimingTable:
    def test_measured(self, record):
        """An entry's row has its times, its rate, its memory, its operations and their share of the peak."""
        row = row_of(as_markdown(record), "FLUX.1-dev Base", 0)
        assert row[1:] == [
            *(
                "exact",
                "512x512",
                "28",
                "20 s",
                "9 s",
                "3.6 s",
                "3.75 s",
                "4.5 s",
                "5",
                "10",
                "34000 MiB",
                "—",
            ),
            *("21.5", "25 %", "—", "—", "not measured", "—", "—"),
        ]

    def test_profile(self, record):
        """The row of another profile names it, its planned memory and how far its picture is from exact's."""
        measured = replace(record.entries[0].measured, planned_mib=33_000.0, difference=3)
        row = replace(record.entries[0], profile="turbo", measured=measured)
        text = as_markdown(replace(record, entries=[row]))
        cells = row_of(text, "FLUX.1-dev Base", 0)
        assert [cells[at] for at in (1, 11, 12, 16)] == ["turbo", "34000 MiB", "33000 MiB", "3 levels"]
        assert row_of(text, "FLUX.1-dev Base", 1)[1] == "turbo"

    def test_unknown_peak_stays_empty(self, record):
        """A device with an unknown peak has no share of it; the seconds that the adapter adds are shown."""
        row = row_of(as_markdown(record), "FLUX.1-dev + Realism LoRA", 0)
        assert row[14:16] == ["—", "1.25 s"]

    def test_server(self, record):
        """The times through the API are beside the bare ones; an entry without them is `not measured`."""
        text = as_markdown(record)
        assert row_of(text, "FLUX.1-dev + Realism LoRA", 0)[17:] == ["7.3 s", "7.5 s", "44 ms"]
        assert row_of(text, "FLUX.1-dev Base", 0)[17:] == ["not measured", "—", "—"]

    def test_not_measured(self, record):
        """An entry that could not be drawn keeps its row, without figures and with the reason."""
        text = as_markdown(record)
        assert row_of(text, "HD", 0)[4:6] == ["not measured", "—"]
        assert row_of(text, "HD", 1)[5:9] == ["not measured", "—", "75 s", "Ultra"]
        assert "HD, exact, was not measured: OUT_OF_MEMORY: full" in text

    def test_every_row_is_as_wide(self, record):
        """Every row of a table has as many cells as its head."""
        for table in as_markdown(record).split("\n\n"):
            widths = {line.count("|") for line in table.splitlines() if line.startswith("|")}
            assert len(widths) <= 1


class TestHostedTable:
    def test_cost(self, record):
        """An image costs its time at the price of the card; so many hosted ones cost an hour of it."""
        assert row_of(as_markdown(record), "FLUX.1-dev Base", 1) == [
            *("FLUX.1-dev Base", "exact", "512x512", "28", "no", "3.6 s", "3.75 s", "35 s", "Good", "8"),
            *("$0.0020", "$0.0250", "$0.0500", "80 of 1000 /h"),
        ]

    def test_a_card_that_never_pays(self, record):
        """A card that cannot draw what it costs in hosted images is never cheaper, and a free one always."""
        text = as_markdown(replace(record, gpu_usd_per_hour=26.0))
        assert row_of(text, "FLUX.1-dev Base", 1)[-1] == "never"
        assert (
            row_of(as_markdown(replace(record, gpu_usd_per_hour=0.0)), "FLUX.1-dev Base", 1)[-1] == "always"
        )

    def test_an_older_record(self, record):
        """A record without means is shown without them."""
        row = replace(record.entries[0], measured=replace(record.entries[0].measured, mean_s=None))
        text = as_markdown(replace(record, entries=[row]))
        assert row_of(text, "FLUX.1-dev Base", 1)[5:7] == ["3.6 s", "—"]

    def test_without_a_price(self, record):
        """Without the card's price there is no cost of ours; the hosted prices stay."""
        text = as_markdown(replace(record, gpu_usd_per_hour=None))
        assert row_of(text, "FLUX.1-dev Base", 1)[10:] == ["—", "$0.0250", "$0.0500", "—"]
        assert "--gpu-usd-per-hour" in text

    def test_miniature(self, record):
        """The miniature's images have no price, and the text states that they are not FLUX.1's."""
        text = as_markdown(replace(record, weights="miniature"))
        assert row_of(text, "FLUX.1-dev Base", 1)[10:] == ["—", "$0.0250", "$0.0500", "—"]
        assert "say nothing of FLUX.1" in text


class TestFigures:
    def test_missed(self, record):
        """A figure above its target is marked as missed."""
        assert "| drawing: peak memory | 1300 MiB | at most 1200 MiB | **missed** |" in as_markdown(record)

    def test_busy(self, record):
        """The text warns about a busy machine, and only then."""
        assert "busy" not in as_markdown(record)
        assert "busy" in as_markdown(replace(record, load_average={"drawing": 2.5}))
