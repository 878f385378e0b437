"""All that one run of the benchmark found, as a file that another run can be compared with."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from server.cli.benchmark.figures import Figure
from server.cli.benchmark.timings import EntryTiming


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
