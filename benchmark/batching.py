"""Measures what an image takes when it is drawn alone, and when it is drawn in a batch."""

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Final

from benchmark.overhead import PROMPT
from benchmark.plan import EXACT, Advance, Plan
from benchmark.record import Figure
from benchmark.running import NotMeasured, ask, child, read_line
from catalog.orders import Order

SIZES: Final = (1, 2, 4)
WARM_UPS: Final = 1


def measure_batches(plan: Plan, advance: Advance) -> list[Figure]:
    """Draw each entry alone and in batches, by turns, with each profile that draws batches."""
    figures: list[Figure] = []
    for profile in profiles_of(plan):
        with (
            tempfile.TemporaryDirectory() as folder,
            child("bare", plan.weights, Path(folder), DRAW_PROFILE=profile) as bare,
        ):
            read_line(bare)
            for entry in plan.chosen():
                order = Order.of_entry(entry, PROMPT, seed=0).to_json()
                seconds: dict[int, list[float]] = {size: [] for size in SIZES}
                for number in range(WARM_UPS + plan.effort.runs):
                    for size, spent_s in seconds.items():
                        advance(f"{profile}: {entry.name}, batch of {size}")
                        try:
                            answer = ask(bare, batch={"order": order, "rows": size})
                        except NotMeasured as problem:
                            advance(f"no batch of {size}: {problem}")
                            continue
                        spent_s.extend([answer["draw_s"]] if number >= WARM_UPS else [])
                figures += batch_figures(f"{entry.short_key}, {profile}", seconds)
    return figures


def profiles_of(plan: Plan) -> tuple[str, ...]:
    """Return the profiles to draw batches with: exact draws none, so fast stands for it."""
    return tuple(profile for profile in plan.profiles if profile != EXACT) or ("fast",)


def batch_figures(name: str, seconds: Mapping[int, Sequence[float]]) -> Iterator[Figure]:
    """Return the seconds an image by the size of the batch, of the sizes that could be drawn."""
    for size, spent_s in seconds.items():
        if spent_s:
            yield Figure(f"batch, {name}: an image of a batch of {size}, p50", median(spent_s) / size, "s")
