"""Writes the report of a run: Markdown, JSON, and a chart that compares the entries with the hosted API."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import matplotlib as mpl

mpl.use("Agg")  # before pyplot is imported, or it looks for a screen

from matplotlib import pyplot as plt  # see above

from benchmark.record import EntryTiming, Record
from benchmark.reference import HOSTED, own_usd
from benchmark.tables import as_markdown, costs_are_real, rounded

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SUFFIXES: Final = (".png", ".svg")
_HERE_COLOUR, _HOSTED_COLOUR = "#2a6f97", "#bc6c25"
_BAR: Final = 0.38  # of the distance between two entries


def write_report(record: Record, folder: Path) -> tuple[str, list[Path]]:
    """Write a record's files; return its Markdown and the files.

    There is no chart if no entry was measured.
    """
    folder.mkdir(parents=True, exist_ok=True)
    text = as_markdown(record)
    files = [folder / "benchmark.md", folder / "benchmark.json"]
    files[0].write_text(text + "\n", "utf-8")
    files[1].write_text(record.to_json(), "utf-8")
    if any(row.measured for row in record.entries):
        files += write_chart(record, folder)
    return text, files


def write_chart(record: Record, folder: Path) -> list[Path]:
    """Draw the measured entries as PNG and SVG; return the files."""
    rows = [row for row in record.entries if row.measured is not None]
    with_cost = record.gpu_usd_per_hour is not None and costs_are_real(record)
    # A fixed salt makes the file the same for the same data.
    with plt.rc_context({"svg.hashsalt": "benchmark", "svg.fonttype": "none"}):
        figure, axes = plt.subplots(
            1, 1 + with_cost, figsize=(9 + 5 * with_cost, 1.5 + 0.75 * len(rows)), squeeze=False
        )
        _plot_seconds(axes[0][0], rows)
        if record.gpu_usd_per_hour is not None and with_cost:
            _plot_dollars(axes[0][1], rows, record.gpu_usd_per_hour)
        figure.suptitle(_conditions(record), fontsize=10)
        figure.tight_layout()
        files = [folder / f"benchmark{suffix}" for suffix in SUFFIXES]
        for file in files:
            figure.savefig(file, dpi=150, metadata={"Date": None} if file.suffix == ".svg" else None)
        plt.close(figure)
    return files


def _conditions(record: Record) -> str:
    """Return the device, weights and commit, because charts are shared without the text around them."""
    machine = record.machine
    device = machine["accelerator"] if machine["accelerator"] != "none" else f"CPU, {machine['cores']} cores"
    weights = f"{record.weights} weights" if costs_are_real(record) else "the miniature, which is not FLUX.1"
    return f"here: {device}, {weights}; commit {machine['commit']}"


def _plot_seconds(axes: "Axes", rows: Sequence[EntryTiming]) -> None:
    ours = [row.measured.p50_s if row.measured else 0.0 for row in rows]
    _plot_bars(axes, rows, ours, [HOSTED[row.name].average_s for row in rows], "s")
    axes.set_title("one image: p50 here, average of the hosted API")
    axes.set_xlabel("seconds, logarithmic")


def _plot_dollars(axes: "Axes", rows: Sequence[EntryTiming], gpu_usd_per_hour: float) -> None:
    ours = [own_usd(row.measured.p50_s, gpu_usd_per_hour) if row.measured else 0.0 for row in rows]
    _plot_bars(axes, rows, ours, [HOSTED[row.name].usd for row in rows], "$")
    axes.set_title(f"1000 images, a card at ${gpu_usd_per_hour:g} an hour")
    axes.set_xlabel("dollars, logarithmic")


def _plot_bars(
    axes: "Axes", rows: Sequence[EntryTiming], ours: Sequence[float], theirs: Sequence[float], unit: str
) -> None:
    """Draw two bars for each entry, on a logarithmic scale that shows their ratio."""
    places = range(len(rows))
    for values, label, colour, shift in (
        (ours, "here", _HERE_COLOUR, -_BAR / 2),
        (theirs, "hosted", _HOSTED_COLOUR, _BAR / 2),
    ):
        bars = axes.barh([place + shift for place in places], values, _BAR, label=label, color=colour)
        axes.bar_label(bars, [f"{rounded(value)} {unit}" for value in values], padding=3, fontsize=8)
    names = [f"{row.title}\n{row.width_px} px, {row.steps} steps, {row.profile}" for row in rows]
    axes.set_yticks(list(places), names)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.margins(x=0.15)
    axes.legend(fontsize=8, ncols=2, loc="upper center", bbox_to_anchor=(0.5, -0.14), frameon=False)
