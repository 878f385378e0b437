"""Measures how much of a bare backend's rate the worker reaches while the queue is never empty."""

from statistics import median
from typing import Final

from benchmark.plan import Advance, Plan
from benchmark.record import Figure
from benchmark.running import ask, assert_that, child, prepared_folder, read_line

ENTRY: Final = "flux-schnell-fast"  # drawn in least time, so that what is not drawing weighs most
IMAGES: Final = 12
"""In a turn: three batches of four."""
BARE: Final = "bare"
MODES: Final[dict[str, tuple[str, str, float | None]]] = {
    "off": ("off", "without overlap", 0.95),
    "on": ("on", "with overlap", 1.0),
    "batches": ("on", "with overlap and batches", None),
}
"""OVERLAP, the name and the target of each way of the worker's."""


def measure_saturation(plan: Plan, advance: Advance) -> list[Figure]:
    """Draw the same images bare and by a worker, in each of its ways by turns."""
    turns: dict[str, list[dict[str, float]]] = {mode: [] for mode in (BARE, *MODES)}
    with (
        prepared_folder() as data_dir,
        child("saturation", plan.weights, data_dir, DRAW_PROFILE="fast") as process,
    ):  # exact draws no batches
        assert_that(read_line(process)["ready"], "the worker is ready")
        for number in range(1 + plan.effort.runs):  # the first warms up
            for mode, answers in turns.items():
                advance(f"drawing {IMAGES} images, {mode}")
                answer = ask(process, draw=mode)
                answers.extend([answer] if number else [])
    name = f"saturation of {ENTRY}"
    bare_s = median(answer["seconds"] for answer in turns[BARE])
    figures = [Figure(f"{name}: bare, latents to stored PNG", IMAGES / bare_s, "/s")]
    for mode, (_, title, at_least) in MODES.items():
        for measured, what, target in (
            ("seconds", "", at_least),
            ("processor_s", ", processor time", None),
        ):
            ratios = [
                bare[measured] / served[measured]
                for bare, served in zip(turns[BARE], turns[mode], strict=True)
            ]
            figures.append(Figure(f"{name}: {title} / bare{what}", median(ratios), "", at_least=target))
    return figures
