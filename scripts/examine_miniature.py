"""Evaluates the shipped miniature on hundreds of prompts for each entry and size, and prints a table.

    python -m scripts.examine_miniature

About half an hour on two cores, one examination on each core: together, two processes with one thread each
are 1.5 times as fast as one process with two threads. tests/inference/miniature/test_drawing.py runs the same
examinations with fewer prompts.
"""

import os
import tempfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Final

import click
import torch
from rich.console import Console
from rich.progress import Progress

from catalog.entries import Entry, shipped_entries
from catalog.orders import Order
from inference.local.backend import LocalBackend, LocalConfig
from inference.miniature.building import build_miniature
from scripts.miniature.attributes import VALUES
from scripts.miniature.examining import Question, Score, draw_all, examine, open_questions, questions, sized
from scripts.miniature.judge import load_judge

BASE, REALISM, HD, SCHNELL = shipped_entries()
SCALES: Final = (0.0, 0.3, 0.6, 0.9)


@dataclass(frozen=True)
class Examination:
    """One row of the table.

    change: alters the entry's orders. part: the fraction of the prompts. ask: makes the prompts.
    """

    name: str
    entry: Entry
    change: Callable[[Order], Order]
    part: float
    ask: Callable[[int, Entry], list[Question]] = questions


def scaled(scale: float) -> Callable[[Order], Order]:
    """Return a function that sets an order to 512 px and this adapter scale."""

    def change(order: Order) -> Order:
        if order.adapter is None:
            raise ValueError("this entry has no adapter to scale")
        return replace(sized(512)(order), adapter=replace(order.adapter, scale=scale))

    return change


def shaped(width_px: int, height_px: int) -> Callable[[Order], Order]:
    """Return a function that sets an order to this size."""
    return lambda order: replace(order, width_px=width_px, height_px=height_px)


def stepped(steps: int) -> Callable[[Order], Order]:
    """Return a function that sets an order to this number of steps."""
    return lambda order: replace(order, steps=steps)


EXAMINATIONS: Final = (
    Examination("dev, 28 steps, 512", BASE, sized(512), 1.0),
    Examination("schnell, 4 steps, 512", SCHNELL, sized(512), 1.0),
    Examination("dev, 4 steps, 512", BASE, stepped(4), 0.2),
    *(
        Examination(f"dev, {steps} steps, little asked", BASE, stepped(steps), 0.1, open_questions)
        for steps in (4, 8, 28)
    ),
    Examination("schnell, 4 steps, little asked", SCHNELL, stepped(4), 0.1, open_questions),
    Examination("dev, 28 steps, 768", BASE, sized(768), 0.2),
    Examination("dev, 28 steps, 1024", BASE, sized(1024), 0.2),
    Examination("dev, 28 steps, 512x768", BASE, shaped(512, 768), 0.2),
    Examination("dev, 28 steps, 1024x768", BASE, shaped(1024, 768), 0.2),
    Examination("schnell, 4 steps, 768", SCHNELL, sized(768), 0.2),
    Examination("schnell, 4 steps, 1024", SCHNELL, sized(1024), 0.2),
    *(Examination(f"realism at {scale}, 30 steps, 512", REALISM, scaled(scale), 0.2) for scale in SCALES),
    Examination("realism, its entry, 768", REALISM, sized(768), 0.2),
    Examination("HD realism, its entry, 1024", HD, sized(1024), 0.2),
)


@click.command()
@click.option(
    "--count", type=click.IntRange(min=10), default=500, show_default=True, help="Prompts at 512 px."
)
@click.option("--only", default="", help="Only examinations whose name contains this.")
def main(count: int, only: str) -> None:
    """Print how many requested attributes the pictures show, and how shaded they are."""
    chosen = [number for number, examination in enumerate(EXAMINATIONS) if only in examination.name]
    spawning = get_context("spawn")
    with (
        tempfile.TemporaryDirectory() as folder,
        Progress(console=Console(stderr=True), transient=True) as progress,
        ProcessPoolExecutor(os.cpu_count(), spawning, torch.set_num_threads, (1,)) as pool,
    ):
        build_miniature(Path(folder))
        futures = [pool.submit(run_examination, number, count, Path(folder)) for number in chosen]
        for future in progress.track(as_completed(futures), total=len(futures), description="examinations"):
            progress.console.print(as_markdown(dict([future.result()])).splitlines()[-1], soft_wrap=True)
    click.echo(as_markdown(dict(future.result() for future in futures)))


def run_examination(number: int, count: int, folder: Path) -> tuple[str, Score]:
    """Run one examination; return its name and its score."""
    examination = EXAMINATIONS[number]
    prompts = examination.ask(max(10, round(count * examination.part)), examination.entry)
    backend = LocalBackend(LocalConfig("miniature", folder, device="cpu"))
    pictures = draw_all(backend, examination.entry, prompts, examination.change)
    return examination.name, examine(load_judge(), prompts, pictures)


def as_markdown(scores: dict[str, Score]) -> str:
    """Return the scores as a table in per cent."""
    rows = [
        "| | n | mean | " + " | ".join(name.replace("_", " ") for name in VALUES) + " | shaded | contrast |",
        "|---|" + "---:|" * (len(VALUES) + 4),
    ]
    for name, score in scores.items():
        cells = [
            f"{100 * score.accuracy[attribute]:.0f}" if attribute in score.accuracy else ""
            for attribute in VALUES
        ]
        count = len(score.shading)
        shaded = sum(map(round, score.shading)) / count
        rows.append(
            f"| {name} | {count} | {100 * score.mean:.1f} | {' | '.join(cells)} | {100 * shaded:.0f} "
            f"| {score.contrast:.1f} |"
        )
    return "\n".join(rows)


if __name__ == "__main__":
    main()
