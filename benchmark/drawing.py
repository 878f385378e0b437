"""Measures the drawing time and the memory of each entry, warm and without a server."""

import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image, ImageChops

from benchmark.overhead import PROMPT, measure_served
from benchmark.plan import EXACT, Advance, Plan
from benchmark.record import EntryTiming, Figure, Measured, percentile
from benchmark.reference import peak_tflops
from benchmark.running import Child, NotMeasured, ask, child, read_line
from catalog.entries import Entry
from catalog.orders import Order

# Of the miniature on two cores, in seconds and MiB.
_TARGETS_S: Final = {"flux-dev-base": 2.0, "flux-schnell-fast": 1.0, "flux-dev-hd-realism": 12.0}
_TARGET_MIB: Final = 1200.0


def measure_drawing(plan: Plan, advance: Advance) -> list[Figure | EntryTiming]:
    """Draw with every entry at its own size and steps, then with all pipelines resident together.

    Each profile has a process of its own.
    """
    figures: list[Figure] = []
    timings: list[EntryTiming] = []
    with tempfile.TemporaryDirectory() as folder:
        for profile in plan.profiles:
            rows, peak = _draw_with(plan, profile, Path(folder), advance)
            if plan.through_server:
                served = measure_served(plan, profile, advance)
                rows = [replace(row, served=served[row.name]) for row in rows]
            timings += rows
            figures += [figure for row in rows for figure in entry_figures(row, plan.weights.kind)]
            figures += [peak] if peak else []
    return [*figures, *timings]


def _draw_with(
    plan: Plan, profile: str, folder: Path, advance: Advance
) -> tuple[list[EntryTiming], Figure | None]:
    """Draw with one profile. Returns the entries' rows and the peak of all together, None if they do not fit.

    folder: has the data of the process, and each entry's picture for the profiles that come after.
    """
    with child("bare", plan.weights, folder, DRAW_PROFILE=profile) as bare:
        device = read_line(bare)["device"]
        rows = []
        for entry in plan.chosen():
            row = replace(time_entry(bare, entry, plan.effort.runs, device, advance), profile=profile)
            picture = folder / f"{entry.short_key}-{profile}.png"
            if row.measured is not None:
                ask(bare, save=str(picture))
                exact = folder / f"{entry.short_key}-{EXACT}.png"
                compared = profile != EXACT and exact.exists()
                difference = largest_difference(exact, picture) if compared else None
                row = replace(row, measured=replace(row.measured, difference=difference))
            rows.append(row)
        advance("drawing with all together")
        try:
            peak_mib = peak_together(bare, plan.chosen())
        except NotMeasured as problem:
            advance(f"not all together: {problem}")
            return rows, None
    peaks_mib = [peak_mib, *(row.measured.peak_mib for row in rows if row.measured)]
    return rows, memory_figure(max(peaks_mib), device, plan.weights.kind, profile)


def largest_difference(exact: Path, other: Path) -> int:
    """Return the largest difference between two pictures of one size, of a channel of a pixel, in levels."""
    extrema = ImageChops.difference(Image.open(exact), Image.open(other)).getextrema()
    return int(np.max(extrema))


def time_entry(bare: Child, entry: Entry, runs: int, device: str, advance: Advance) -> EntryTiming:
    """Measure one entry while only its own pipeline is resident. The last picture is with its adapter."""
    row = EntryTiming(
        name=entry.short_key,
        title=entry.name,
        width_px=entry.width_px,
        height_px=entry.height_px,
        steps=entry.steps,
        lora=entry.realism,
        credits=entry.credit_cost,
    )
    order = Order.of_entry(entry, PROMPT, seed=0)
    try:
        without_lora = (
            load_and_draw(bare, replace(order, adapter=None), runs, advance, "its base")[1]
            if entry.realism
            else None
        )
        loaded, answers = load_and_draw(bare, order, runs, advance, entry.name)
    except NotMeasured as problem:
        return replace(row, problem=str(problem))
    adds_s = median_of(answers[1:]) - median_of(without_lora[1:]) if without_lora else None
    return replace(row, measured=measured(loaded, answers, order.steps, adds_s, peak_tflops(device)))


def load_and_draw(
    bare: Child, order: Order, runs: int, advance: Advance, title: str
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Load a pipeline into an empty backend and draw with it.

    Returns the answer to the load and one answer for each image. The first image is cold.

    Raises:
        NotMeasured: the device cannot load or draw.

    """
    advance(f"loading {title}")
    ask(bare, close=True)
    loaded = ask(bare, warm_up=order.to_json())
    answers = []
    for seed in range(1 + runs):
        advance(f"drawing {title}")
        answers.append(ask(bare, draw=replace(order, seed=seed).to_json()))
    return loaded, answers


def measured(
    loaded: dict[str, Any],
    answers: Sequence[dict[str, Any]],
    steps: int,
    lora_adds_s: float | None,
    peak: float | None,
) -> Measured:
    """Summarise the child's answers for one entry; the first image counts only as `first_s`."""
    seconds = [answer["draw_s"] for answer in answers[1:]]
    per_s = steps / statistics.median(answer["steps_s"] for answer in answers[1:])
    return Measured(
        load_s=loaded["load_s"],
        first_s=answers[0]["draw_s"],
        p50_s=statistics.median(seconds),
        p95_s=percentile(seconds, 95),
        runs=len(seconds),
        steps_per_s=per_s,
        peak_mib=answers[-1]["peak_mib"],
        tflop_per_step=loaded["tflop_per_step"],
        peak_share=loaded["tflop_per_step"] * per_s / peak if peak else None,
        lora_adds_s=lora_adds_s,
        planned_mib=loaded["planned_mib"],
        mean_s=statistics.fmean(seconds),
    )


def median_of(answers: Sequence[dict[str, Any]]) -> float:
    """Return the median of the seconds from the order to the picture."""
    return float(statistics.median(answer["draw_s"] for answer in answers))


def peak_together(bare: Child, entries: Sequence[Entry]) -> float:
    """Draw with every entry while all pipelines stay loaded; return the peak of memory in MiB.

    Raises:
        NotMeasured: the pipelines do not fit together.

    """
    return max(
        float(ask(bare, draw=Order.of_entry(entry, PROMPT, seed=0).to_json())["peak_mib"])
        for entry in entries
    )


def entry_figures(row: EntryTiming, weights: str) -> list[Figure]:
    """Return an entry's p50; only the miniature has targets, with the exact profile."""
    if row.measured is None:
        return []
    name = f"drawing {row.name}: {row.width_px} px, {row.steps} steps{_with(row.profile)}, p50"
    at_most = _TARGETS_S.get(row.name) if weights == "miniature" and row.profile == EXACT else None
    return [Figure(name, row.measured.p50_s, "s", at_most=at_most)]


def memory_figure(peak_mib: float, device: str, weights: str, profile: str) -> Figure:
    """Return the peak of memory with all pipelines resident.

    Only the miniature has a target, with the exact profile on a CPU.
    """
    holder = "process" if device == "cpu" else "device"
    at_most = _TARGET_MIB if (weights, holder, profile) == ("miniature", "process", EXACT) else None
    return Figure(f"drawing: peak memory of the {holder}{_with(profile)}", peak_mib, "MiB", at_most=at_most)


def _with(profile: str) -> str:
    """Return how the name of a figure ends; what is exact is named as it was before there were profiles."""
    return "" if profile == EXACT else f", {profile}"
