"""Measures what it costs to draw with another variant, or with another base model, after the last image."""

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any, Final

from benchmark.overhead import PROMPT
from benchmark.plan import Advance, Plan
from benchmark.record import Figure
from benchmark.running import Child, NotMeasured, ask, child, read_line
from catalog.entries import Entry
from catalog.orders import Order

WARM_UPS: Final = 1
AT_MOST: Final = 1.03
"""Drawing by turns may take so much longer than drawing alone: the noise of a quiet machine."""

Drawn = tuple[str, dict[str, Any]]
"""The name of an order, and the answer of the child that drew it."""


def measure_switching(plan: Plan, advance: Advance) -> list[Figure]:
    """Draw an entry and its variant alone and by turns; then two base models by turns."""
    figures: list[Figure] = []
    for profile in plan.profiles:
        with (
            tempfile.TemporaryDirectory() as folder,
            child("bare", plan.weights, Path(folder), DRAW_PROFILE=profile) as bare,
        ):
            read_line(bare)
            rounds = WARM_UPS + plan.effort.runs
            advance(f"{profile}: base and variant by turns")
            figures += variant_figures(profile, _variants(bare, plan.chosen(), rounds))
            advance(f"{profile}: base models by turns")
            figures += swap_figures(profile, _swaps(bare, plan.chosen(), rounds))
    return figures


def _variants(bare: Child, entries: Sequence[Entry], rounds: int) -> list[Drawn]:
    """Draw in each round the base twice, its variant twice, and both by turns; the first rounds warm up."""
    realism = next((entry for entry in entries if entry.realism), None)
    if realism is None:
        return []
    variant = Order.of_entry(realism, PROMPT, seed=0)
    base = replace(variant, adapter=None)
    a_round = [
        *(("base alone", base), ("base alone", base), ("variant alone", variant), ("variant alone", variant)),
        *(("base by turns", base), ("variant by turns", variant)) * 2,
    ]
    drawn = []
    for number in range(rounds):
        for position, (name, order) in enumerate(a_round):
            answer = ask(bare, draw=replace(order, seed=number).to_json())
            # The first of the two alone follows the other one: it is not alone.
            follows_other = name.endswith("alone") and position % 2 == 0
            if number >= WARM_UPS and not follows_other:
                drawn.append((name, answer))
    return drawn


def variant_figures(profile: str, drawn: Sequence[Drawn]) -> Iterator[Figure]:
    """Compare drawing by turns with drawing alone, and count the images that had to load something."""
    if not drawn:
        return
    seconds: dict[str, list[float]] = {}
    for name, answer in drawn:
        seconds.setdefault(name, []).append(answer["draw_s"])
    for which in ("base", "variant"):
        ratio = median(seconds[f"{which} by turns"]) / median(seconds[f"{which} alone"])
        yield Figure(f"variant, {profile}: {which} by turns / alone, p50", ratio, "", at_most=AT_MOST)
    loads = sum(answer["load_s"] > 0 for _, answer in drawn)
    yield Figure(f"variant, {profile}: images that loaded something", loads, "", at_most=0)


def _swaps(bare: Child, entries: Sequence[Entry], rounds: int) -> list[Drawn]:
    """Draw one image of each base model by turns, or nothing if there is one or they do not fit in turns."""
    orders = {entry.model_id: Order.of_entry(entry, PROMPT, seed=0) for entry in entries}
    if len(orders) == 1:
        return []
    drawn = []
    for number in range(rounds):
        for model_id, order in orders.items():
            try:
                answer = ask(bare, draw=replace(order, seed=number).to_json())
            except NotMeasured:
                return []
            if number >= WARM_UPS:
                drawn.append((model_id.rpartition("/")[2], answer))
    return drawn


def swap_figures(profile: str, drawn: Sequence[Drawn]) -> Iterator[Figure]:
    """Return the seconds that each base model took to be ready again, 0 if both stay in memory."""
    loads_s: dict[str, list[float]] = {}
    for name, answer in drawn:
        loads_s.setdefault(name, []).append(answer["load_s"])
    for name, spent_s in loads_s.items():
        yield Figure(f"swap, {profile}: to {name} after another, p50", median(spent_s), "s")
