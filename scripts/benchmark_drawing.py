"""How long each entry of the catalogue draws, warm and without a server, and the memory that it takes."""

import statistics
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

from benchmark_server import Advance, Effort, Figure, assert_that, child, read_line, tell

from catalog.entries import Entry, shipped_entries
from inference.backend import Order

_PROMPT: Final = "portrait of a woman with long red hair and glasses, blue background"

# For the miniature on two cores, in seconds.
_TARGETS_S: Final = {"flux-dev-base": 2.0, "flux-schnell-fast": 1.0, "flux-dev-hd-realism": 12.0}
_TARGET_MIB: Final = 1200.0


def measure_drawing(effort: Effort, models_dir: Path, advance: Advance) -> list[Figure]:
    """Draw with every entry, at its own size and steps, until its times say something."""
    figures = []
    with tempfile.TemporaryDirectory() as folder, child("bare", models_dir, Path(folder)) as bare:
        assert_that(read_line(bare)["ready"], "the bare pipeline is ready")
        for entry in shipped_entries():
            advance(f"drawing {entry.key}")
            answers = []
            for seed in range(max(3, effort.images // 4) + 1):
                tell(bare, asdict(Order.of_entry(entry, _PROMPT, seed=seed)))
                answers.append(read_line(bare))
            figures += entry_figures(entry, answers[1:])  # one to load and warm up
    figures.append(
        Figure("drawing: peak memory of the process", answers[-1]["peak_mib"], "MiB", at_most=_TARGET_MIB)
    )
    return figures


def entry_figures(entry: Entry, answers: Iterable[dict[str, Any]]) -> list[Figure]:
    """Return an entry's time."""
    name = entry.key.partition(":")[2]
    what = f"drawing {name}: {entry.width_px} px, {entry.steps} steps, p50"
    seconds = statistics.median(answer["draw_s"] for answer in answers)
    return [Figure(what, seconds, "s", at_most=_TARGETS_S.get(name))]
