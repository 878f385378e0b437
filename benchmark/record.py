"""The results of one run of the benchmark, as a file that `--compare` reads."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from benchmark.plan import EXACT


@dataclass(frozen=True)
class Figure:
    """One measured number and its target."""

    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def target(self) -> str:
        """The target in words, empty without a target."""
        if self.at_most is not None:
            return f"at most {self.at_most:g} {self.unit}".strip()
        return f"at least {self.at_least:g} {self.unit}".strip() if self.at_least is not None else ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met, None without a target."""
        if self.at_most is not None:
            return self.value <= self.at_most
        return self.value >= self.at_least if self.at_least is not None else None


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the percentile of the values; a single value is its own percentile."""
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


@dataclass(frozen=True)
class Measured:
    """The measurements of one entry, drawn without a server.

    load_s: the pipeline and its LoRA, from the disk to the device; random weights are made there instead.
    first_s: the first image after loading. p50_s, p95_s, mean_s: from the order to the picture, over the
    `runs` images after the first; older records have no mean. steps_per_s: of the denoising alone. peak_mib:
    the peak of memory for this entry alone, of the device or, on a CPU, of the process. tflop_per_step:
    counted from the config. peak_share: the rate of operations divided by the device's peak rate, None where
    that is unknown. lora_adds_s: p50 with the LoRA minus p50 of the same pipeline without it, None for
    entries without a LoRA. planned_mib: what the plan of the card's memory foresees, None without a plan.
    difference: the largest difference of a channel of a pixel to the exact profile's picture, of 255 levels;
    None for that profile itself.
    """

    load_s: float
    first_s: float
    p50_s: float
    p95_s: float
    runs: int
    steps_per_s: float
    peak_mib: float
    tflop_per_step: float
    peak_share: float | None = None
    lora_adds_s: float | None = None
    planned_mib: float | None = None
    difference: int | None = None
    mean_s: float | None = None


@dataclass(frozen=True)
class Served:
    """The times of one entry, drawn through the API.

    p50_s, p95_s: from accepted to stored. adds_p50_ms: the part of it outside the pipeline's phases.
    """

    p50_s: float
    p95_s: float
    adds_p50_ms: float


@dataclass(frozen=True)
class EntryTiming:
    """One row of the timing table. Where `measured` is None, `problem` gives the reason.

    profile: that it was drawn with.
    """

    name: str
    title: str
    width_px: int
    height_px: int
    steps: int
    lora: bool
    credits: int
    measured: Measured | None = None
    served: Served | None = None
    problem: str = ""
    profile: str = EXACT

    @classmethod
    def of_json(cls, row: Mapping[str, Any]) -> Self:
        """Return the row that a file holds as JSON."""
        measured, served = row["measured"], row["served"]
        parts = {
            "measured": Measured(**measured) if measured else None,
            "served": Served(**served) if served else None,
        }
        return cls(**{**row, **parts})


@dataclass(frozen=True)
class Record:
    """The results of a run, and what they depend on.

    weights: see `plan.Weights.kind`. load_average: of the machine at the start of each measurement. figures:
    by the measurement's name. gpu_usd_per_hour: the price of the card, None if not given.
    """

    machine: Mapping[str, Any]
    weights: str
    effort: Mapping[str, int]
    load_average: Mapping[str, float]
    figures: Mapping[str, list[Figure]]
    entries: list[EntryTiming]
    gpu_usd_per_hour: float | None = None

    def to_json(self) -> str:
        """Return the record as JSON; each figure also has the field `met`."""
        figures = {
            name: [asdict(figure) | {"met": figure.met} for figure in figures]
            for name, figures in self.figures.items()
        }
        return json.dumps(asdict(self) | {"figures": figures}, indent=2) + "\n"

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError, KeyError, TypeError: the file is not a record.

        """
        fields = json.loads(file.read_text("utf-8"))
        figures = {name: [_figure(row) for row in rows] for name, rows in fields["figures"].items()}
        entries = [EntryTiming.of_json(row) for row in fields["entries"]]
        return cls(**{**fields, "figures": figures, "entries": entries})


def _figure(row: Mapping[str, Any]) -> Figure:
    return Figure(**{name: value for name, value in row.items() if name != "met"})
