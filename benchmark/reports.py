"""Writes the report of a run: Markdown, JSON, and a chart that compares the entries with the hosted API."""

from collections.abc import Sequence
from dataclasses import dataclass
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
_HERE_COLOUR, _HOSTED_COLOUR, _OLD_COLOUR = "#2a6f97", "#bc6c25", "#d9c2a3"
_HATCH: Final = "///"
_GROUP: Final = 0.76  # of the distance between two entries: all bars of one


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
    real = costs_are_real(record)
    with_cost = record.gpu_usd_per_hour is not None and real
    # A fixed salt makes the file the same for the same data.
    with plt.rc_context({"svg.hashsalt": "benchmark", "svg.fonttype": "none"}):
        figure, axes = plt.subplots(
            1, 1 + with_cost, figsize=(9 + 5 * with_cost, 1.9 + 0.75 * len(rows)), squeeze=False
        )
        _plot_seconds(axes[0][0], rows, real=real)
        if record.gpu_usd_per_hour is not None and with_cost:
            _plot_dollars(axes[0][1], rows, record.gpu_usd_per_hour)
        figure.suptitle(_title(record), fontsize=11)
        figure.tight_layout()
        files = [folder / f"benchmark{suffix}" for suffix in SUFFIXES]
        for file in files:
            figure.savefig(file, dpi=150, metadata={"Date": None} if file.suffix == ".svg" else None)
        plt.close(figure)
    return files


def _title(record: Record) -> str:
    """Return what drew, where and at which commit, because charts are shared without the text around them."""
    machine = record.machine
    device = (
        machine["accelerator"] if machine["accelerator"] != "none" else f"a CPU, {machine['cores']} cores"
    )
    drew = (
        f"FLUX.1 with {record.weights} weights"
        if costs_are_real(record)
        else "The miniature, which is not FLUX.1,"
    )
    return f"{drew} on {device}; commit {machine['commit']}"


def _plot_seconds(axes: "Axes", rows: Sequence[EntryTiming], *, real: bool) -> None:
    """Draw our seconds; beside them the hosted API's, unless the miniature drew, which is hatched."""
    ours = [row.measured.p50_s if row.measured else 0.0 for row in rows]
    series = [_Bars("here" if real else "the miniature", ours, _HERE_COLOUR, "" if real else _HATCH)]
    if real:
        series.append(_Bars("hosted", [HOSTED[row.name].average_s for row in rows], _HOSTED_COLOUR))
    _plot_bars(axes, rows, series, "s")
    figures = "p50 here, mean of the hosted API" if real else "p50"
    axes.set_title(f"one image, seconds: {figures}", fontsize=10)


def _plot_dollars(axes: "Axes", rows: Sequence[EntryTiming], gpu_usd_per_hour: float) -> None:
    ours = [own_usd(row.measured.p50_s, gpu_usd_per_hour) if row.measured else 0.0 for row in rows]
    series = [
        _Bars("here", ours, _HERE_COLOUR),
        _Bars("hosted, list price", [HOSTED[row.name].list_usd for row in rows], _HOSTED_COLOUR),
        _Bars("hosted, old product", [HOSTED[row.name].old_usd for row in rows], _OLD_COLOUR),
    ]
    _plot_bars(axes, rows, series, "$")
    axes.set_title(
        f"one image, dollars: a card at ${gpu_usd_per_hour:g} an hour that never idles", fontsize=10
    )


@dataclass(frozen=True)
class _Bars:
    """The bars of one label, one for each entry."""

    label: str
    values: Sequence[float]
    colour: str
    hatch: str = ""


def _plot_bars(axes: "Axes", rows: Sequence[EntryTiming], series: Sequence[_Bars], unit: str) -> None:
    """Draw the bars of each entry beside each other, on a logarithmic scale that shows their ratio."""
    height = _GROUP / len(series)
    for number, bars in enumerate(series):
        shift = (number - (len(series) - 1) / 2) * height
        places = [place + shift for place in range(len(rows))]
        drawn = axes.barh(
            places,
            bars.values,
            height,
            label=bars.label,
            color="white" if bars.hatch else bars.colour,
            edgecolor=bars.colour,
            hatch=bars.hatch or None,
        )
        axes.bar_label(drawn, [f"{rounded(value)} {unit}" for value in bars.values], padding=3, fontsize=8)
    names = [f"{row.title}\n{row.width_px} px, {row.steps} steps, {row.profile}" for row in rows]
    axes.set_yticks(list(range(len(rows))), names)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.tick_params(axis="x", which="both", labelbottom=False)  # each bar has its value
    axes.margins(x=0.15)
    axes.legend(fontsize=8, ncols=len(series), loc="upper center", bbox_to_anchor=(0.5, -0.03), frameon=False)
