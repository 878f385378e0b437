"""What one run of the benchmark found, as a file that another run can be compared with."""

import json
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self


@dataclass(frozen=True)
class Figure:
    """One number that was measured, and what it should be."""

    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None

    @property
    def target(self) -> str:
        """The target in words, empty where there is none."""
        if self.at_most is not None:
            return f"at most {self.at_most:g} {self.unit}".strip()
        return f"at least {self.at_least:g} {self.unit}".strip() if self.at_least is not None else ""

    @property
    def met(self) -> bool | None:
        """Whether the target is met, None where there is none."""
        if self.at_most is not None:
            return self.value <= self.at_most
        return self.value >= self.at_least if self.at_least is not None else None


def percentile(values: Sequence[float], percent: int) -> float:
    """Return the value below which so many percent of the values lie; of a single value, that one."""
    if len(values) == 1:
        return values[0]
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


@dataclass(frozen=True)
class Measured:
    """One entry, drawn without a server.

    load_s: the pipeline and its LoRA, from the disk to the device; random weights are made there instead.
    first_s: the first image after loading. p50_s, p95_s: of so many runs after it, from the order to the
    picture. steps_per_s: of the denoising alone. peak_mib: the most that the device held for this entry
    alone, or on a CPU the process. tflop_per_step: counted from the config. peak_share: what part of the
    device's own peak that makes, None where the peak is not known. lora_adds_s: p50 with the LoRA minus p50
    of the same pipeline without it, None for entries that have none.
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


@dataclass(frozen=True)
class Served:
    """The same entry, drawn through the API: accepted to stored, and how much of it no phase accounts for."""

    p50_s: float
    p95_s: float
    adds_p50_ms: float


@dataclass(frozen=True)
class EntryTiming:
    """One row of the timing table; `problem` says why nothing was measured where nothing was."""

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

    @classmethod
    def of_json(cls, told: Mapping[str, Any]) -> Self:
        """Read a row back from a file."""
        measured, served = told["measured"], told["served"]
        parts = {
            "measured": Measured(**measured) if measured else None,
            "served": Served(**served) if served else None,
        }
        return cls(**{**told, **parts})


@dataclass(frozen=True)
class Record:
    """The findings, and what they depend on.

    weights: see `plan.Weights.kind`. load_average: of the machine as each measurement began. figures: by
    the measurement's name. gpu_usd_per_hour: what the operator pays for the card, if told.
    """

    machine: Mapping[str, Any]
    weights: str
    effort: Mapping[str, int]
    load_average: Mapping[str, float]
    figures: Mapping[str, list[Figure]]
    entries: list[EntryTiming]
    gpu_usd_per_hour: float | None = None

    def to_json(self) -> str:
        """Return the record as text, each figure with its verdict."""
        figures = {
            name: [asdict(figure) | {"met": figure.met} for figure in found]
            for name, found in self.figures.items()
        }
        return json.dumps(asdict(self) | {"figures": figures}, indent=2) + "\n"

    @classmethod
    def read(cls, file: Path) -> Self:
        """Read what `to_json` wrote.

        Raises:
            ValueError, KeyError, TypeError: the file holds something else.

        """
        told = json.loads(file.read_text("utf-8"))
        figures = {name: [_figure(one) for one in found] for name, found in told["figures"].items()}
        entries = [EntryTiming.of_json(row) for row in told["entries"]]
        return cls(**{**told, "figures": figures, "entries": entries})


def _figure(told: Mapping[str, Any]) -> Figure:
    return Figure(**{name: value for name, value in told.items() if name != "met"})
