"""Trains the miniature from nothing: draws avatars, learns from them, writes the weights that are shipped.

    python -m scripts.train_miniature

Two lanes side by side, one for what draws and one for what sees, then dev on every core, then schnell beside
the LoRA: on small models two processes of a thread each do half as much again as one of two. Whatever was
interrupted goes on where it stopped.
"""

import multiprocessing
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import Empty
from typing import TYPE_CHECKING, Any, Final

import click
import torch
from diffusers import AutoencoderKL
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from catalog.entries import shipped_entries
from inference.local.backend import LocalBackend, LocalConfig
from scripts.miniature.autoencoder import draw_pairs, train_decoder, train_encoder
from scripts.miniature.base import train_base, train_sizes
from scripts.miniature.code import find_or_load_code
from scripts.miniature.distilling import train_guidance, train_schnell
from scripts.miniature.flow import Flow, Shelf, fill_shelves
from scripts.miniature.judge import WEIGHTS as JUDGE
from scripts.miniature.judge import Judge, save_judge, train_judge
from scripts.miniature.realism import train_realism
from scripts.miniature.sheet import contact_sheet
from scripts.miniature.shipping import ship
from scripts.miniature.training import Step, reporting

if TYPE_CHECKING:
    from multiprocessing.queues import Queue

ROOT: Final = Path(__file__).parent.parent
WEIGHTS: Final = ROOT / "inference/miniature/weights"
SHEET: Final = ROOT / "docs/images/entries.png"

# Without these, glibc returns memory after each step and most of the time goes into page faults.
_MALLOC: Final = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "536870912",
}
_POLL_S: Final = 0.5


@dataclass(frozen=True)
class Run:
    """One run: its folder, and how much of the full number of steps and drawings it takes."""

    folder: Path
    part: float

    def steps(self, full: int) -> int:
        """Return a stage's steps."""
        return max(2, round(full * self.part))


@dataclass(frozen=True)
class Drawing:
    """What draws, and the drawings that it learns from."""

    flow: Flow
    flat: list[Shelf]


@dataclass(frozen=True)
class Seeing:
    """What turns latents into pictures, and what judges these."""

    vae: AutoencoderKL
    judge: Judge


def train_drawing(run: Run) -> Drawing:
    """Train the text models and the base."""
    flat = fill_shelves(find_or_load_code(run.folder), shaded=False, part=run.part)
    return Drawing(train_base(run.folder, flat, steps=run.steps(6000), reading_steps=run.steps(1600)), flat)


def train_dev(base: Drawing, run: Run) -> Drawing:
    """Train the base on at every size, and let it take a guidance scale."""
    sized = train_sizes(run.folder, base.flow, base.flat, steps=run.steps(13_000))
    return Drawing(train_guidance(run.folder, sized, base.flat, steps=run.steps(2000)), base.flat)


def train_seeing(run: Run) -> Seeing:
    """Train the VAE and the judge."""
    judge = train_judge(run.folder, steps=run.steps(2000), part=run.part)
    pairs = draw_pairs(find_or_load_code(run.folder), run.part)
    vae = train_decoder(run.folder, pairs, crop_steps=run.steps(2000), whole_steps=run.steps(400))
    return Seeing(train_encoder(run.folder, vae, pairs, steps=run.steps(600)), judge)


def train_adapter(dev: Flow, run: Run) -> dict[str, torch.Tensor]:
    """Train the realism LoRA; return its tensors."""
    shaded = fill_shelves(find_or_load_code(run.folder), shaded=True, part=0.3 * run.part)
    return train_realism(run.folder, dev, shaded, steps=run.steps(1400))


def train_fast(drawing: Drawing, run: Run) -> Flow:
    """Train schnell."""
    return train_schnell(run.folder, drawing.flow, drawing.flat, steps=run.steps(800))


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=ROOT / ".data/miniature",
    help="Where checkpoints and logs go.",
)
@click.option("--weights", type=click.Path(path_type=Path), default=WEIGHTS, help="Where the weights go.")
@click.option(
    "--judge", "judge_file", type=click.Path(path_type=Path), default=JUDGE, help="Where the judge goes."
)
@click.option("--sheet", type=click.Path(path_type=Path), default=SHEET, help="Where the contact sheet goes.")
@click.option(
    "--part",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    help="Of all steps and drawings: 0.002 shows in a minute that everything runs.",
)
def main(folder: Path, weights: Path, judge_file: Path, sheet: Path, part: float) -> None:
    """Train the miniature and its judge. Interrupted, it goes on where it was."""
    run = Run(folder, part)
    find_or_load_code(folder, part)  # both lanes need it
    base, seeing = side_by_side(run, train_drawing, train_seeing)
    (drawing,) = side_by_side(run, partial(train_dev, base))
    schnell, realism = side_by_side(run, partial(train_fast, drawing), partial(train_adapter, drawing.flow))
    ship(weights, seeing.vae, drawing.flow, schnell, realism)
    save_judge(seeing.judge, judge_file)
    click.echo(f"The weights are in {weights}, the judge in {judge_file}.")
    if weights == WEIGHTS:
        sheet.parent.mkdir(parents=True, exist_ok=True)
        contact_sheet(LocalBackend(LocalConfig("miniature", folder)), shipped_entries()).save(sheet)
        click.echo(f"What the entries draw is in {sheet}.")


def side_by_side(run: Run, *lanes: Callable[[Run], Any]) -> list[Any]:
    """Run each lane in a process of its own, with its share of the cores, behind one progress bar a stage."""
    threads = max(1, (os.cpu_count() or 1) // len(lanes))
    spawning = multiprocessing.get_context("spawn")
    told: Queue[Step] = spawning.Queue()
    with ProcessPoolExecutor(len(lanes), spawning, _begin_lane, (told, threads)) as pool:
        futures = [pool.submit(lane, run) for lane in lanes]
        _show(told, futures)
        return [future.result() for future in futures]


def _begin_lane(told: "Queue[Step]", threads: int) -> None:
    torch.set_num_threads(threads)
    reporting.tell = told.put
    threading.Thread(target=_end_with, args=(multiprocessing.parent_process(),), daemon=True).start()


def _end_with(parent: Any) -> None:
    """End this lane when its parent has ended, however that was: two runs in one folder spoil each other."""
    parent.join()
    os._exit(1)


def _show(told: "Queue[Step]", futures: list[Future[Any]]) -> None:
    """Show what the lanes tell until all have ended; where one fails, the other's work is kept."""
    columns = (
        TextColumn("{task.description:14}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("loss {task.fields[loss]:.4f}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        bars: dict[str, Any] = {}
        while wait(futures, timeout=0).not_done:
            try:
                step = told.get(timeout=_POLL_S)
            except Empty:
                continue
            if step.stage not in bars:
                bars[step.stage] = progress.add_task(step.stage, total=step.steps, loss=step.loss)
            progress.update(bars[step.stage], completed=step.done, loss=step.loss)


if __name__ == "__main__":
    if any(os.environ.get(name) != value for name, value in _MALLOC.items()):
        command = [sys.executable, "-m", "scripts.train_miniature", *sys.argv[1:]]
        os.execve(sys.executable, command, os.environ | _MALLOC)  # noqa: S606 - the same program, once more
    main()
