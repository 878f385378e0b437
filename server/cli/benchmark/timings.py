"""What was measured of one entry of the catalogue."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self


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
