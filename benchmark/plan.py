"""The plan of a run: which measurements, with which weights and how often."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Literal, get_args

from catalog.entries import Entry, shipped_entries
from server.settings.groups import DrawProfile

WeightsKind = Literal["miniature", "random", "real"]
WEIGHTS: Final[tuple[WeightsKind, ...]] = get_args(WeightsKind)

EXACT: Final = "exact"
PROFILES: Final = tuple(profile for profile in get_args(DrawProfile) if profile != "auto")
"""The profiles that entries are drawn with; the others' pictures are compared with exact's."""

Advance = Callable[[str], None]
"""Called before each part of a measurement with a description of that part."""


@dataclass(frozen=True)
class Effort:
    """The number of repetitions of each measurement.

    starts: of the API, and of the whole server. runs: timed images of an entry. images: timed images of the
    overhead. submits: of all clients together. uploads: of the same image, one after another. history:
    generations in the history of a database.
    """

    starts: int = 3
    runs: int = 5
    images: int = 20
    submits: int = 2000
    clients: int = 16
    uploads: int = 20
    history: int = 1_000_000


@dataclass(frozen=True)
class Weights:
    """The weights to draw with.

    `miniature` draws on any CPU. `real` is FLUX.1 from models_dir or the hub's cache. `random` is FLUX.1 at
    full size with random weights made on the device: as fast as the real one, without a licence to accept.
    """

    kind: WeightsKind
    models_dir: Path | None = None

    def environment(self) -> dict[str, str]:
        """Return the settings that let the program draw with these weights; it cannot use random ones."""
        profile = {"MODEL_PROFILE": "full" if self.kind == "real" else "miniature"}
        return profile | ({"MODELS_DIR": str(self.models_dir)} if self.models_dir else {})


@dataclass(frozen=True)
class Plan:
    """One run of the benchmark.

    entries: short keys of the catalogue's entries, empty for all. through_server: also draw each entry
    through the API. profiles: to draw the entries with, in this order.
    """

    weights: Weights
    effort: Effort = field(default_factory=Effort)
    entries: tuple[str, ...] = ()
    through_server: bool = False
    profiles: tuple[str, ...] = (EXACT,)

    def chosen(self) -> tuple[Entry, ...]:
        """Return the entries to draw, as this environment would seed them."""
        shipped = shipped_entries(os.environ.get("FLUX_MODEL"), os.environ.get("FLUX_LORA_MODEL"))
        return tuple(entry for entry in shipped if not self.entries or entry.short_key in self.entries)
