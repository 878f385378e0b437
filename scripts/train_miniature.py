"""Trains the miniature from scratch: draws avatars, trains on them, and writes the shipped weights.

    python -m scripts.train_miniature

First the base and, in parallel, the VAE with the judge; then dev on every core; then schnell and the LoRA in
parallel. With small models, two processes with one thread each are together 1.5 times as fast as one process
with two threads. An interrupted run continues from its last checkpoints.
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
from scripts.miniature.code import load_or_compute_code
from scripts.miniature.distilling import train_guidance, train_schnell
from scripts.miniature.flow import Bucket, Flow, fill_buckets
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

# Without these, glibc returns memory after each step, and page faults take most of the time.
_MALLOC: Final = {
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "536870912",
}
_POLL_S: Final = 0.5


@dataclass(frozen=True)
class Run:
    """One run: its folder, and its fraction of the full number of steps and drawings."""

    folder: Path
    part: float

    def steps(self, full: int) -> int:
        """Return the steps of a stage in this run, from its full number."""
        return max(2, round(full * self.part))


@dataclass(frozen=True)
class FlowAndData:
    """The models that draw, and their training data of flat drawings."""

    flow: Flow
    flat: list[Bucket]


@dataclass(frozen=True)
class VaeAndJudge:
    """The trained VAE and the trained judge."""

    vae: AutoencoderKL
    judge: Judge


def train_flow(run: Run) -> FlowAndData:
    """Train the text models and the base."""
    flat = fill_buckets(load_or_compute_code(run.folder), shaded=False, part=run.part)
    return FlowAndData(
        train_base(run.folder, flat, steps=run.steps(6000), reading_steps=run.steps(1600)), flat
    )


def train_dev(base: FlowAndData, run: Run) -> FlowAndData:
    """Continue training the base at every size, and add guidance as an input."""
    sized = train_sizes(run.folder, base.flow, base.flat, steps=run.steps(13_000))
    return FlowAndData(train_guidance(run.folder, sized, base.flat, steps=run.steps(2000)), base.flat)


def train_vae_and_judge(run: Run) -> VaeAndJudge:
    """Train the VAE and the judge."""
    judge = train_judge(run.folder, steps=run.steps(2000), part=run.part)
    pairs = draw_pairs(load_or_compute_code(run.folder), run.part)
    vae = train_decoder(run.folder, pairs, crop_steps=run.steps(2000), whole_steps=run.steps(400))
    return VaeAndJudge(train_encoder(run.folder, vae, pairs, steps=run.steps(600)), judge)


def train_adapter(dev: Flow, run: Run) -> dict[str, torch.Tensor]:
    """Train the realism LoRA; return its tensors."""
    shaded = fill_buckets(load_or_compute_code(run.folder), shaded=True, part=0.3 * run.part)
    return train_realism(run.folder, dev, shaded, steps=run.steps(1400))


def train_fast(dev: FlowAndData, run: Run) -> Flow:
    """Train schnell."""
    return train_schnell(run.folder, dev.flow, dev.flat, steps=run.steps(800))


@click.command()
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    default=ROOT / ".data/miniature",
    help="The folder for checkpoints and logs.",
)
@click.option(
    "--weights", type=click.Path(path_type=Path), default=WEIGHTS, help="The folder for the weights."
)
@click.option(
    "--judge", "judge_file", type=click.Path(path_type=Path), default=JUDGE, help="The file for the judge."
)
@click.option(
    "--sheet", type=click.Path(path_type=Path), default=SHEET, help="The file for the contact sheet."
)
@click.option(
    "--part",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    help="The fraction of all steps and drawings: 0.002 checks in a minute that everything runs.",
)
def main(folder: Path, weights: Path, judge_file: Path, sheet: Path, part: float) -> None:
    """Train the miniature and its judge. An interrupted run continues from its last checkpoints."""
    run = Run(folder, part)
    load_or_compute_code(folder, part)  # both processes need it
    base, vision = in_parallel(run, train_flow, train_vae_and_judge)
    (dev,) = in_parallel(run, partial(train_dev, base))
    schnell, realism = in_parallel(run, partial(train_fast, dev), partial(train_adapter, dev.flow))
    ship(weights, vision.vae, dev.flow, schnell, realism)
    save_judge(vision.judge, judge_file)
    click.echo(f"The weights are in {weights}, the judge in {judge_file}.")
    if weights == WEIGHTS:
        sheet.parent.mkdir(parents=True, exist_ok=True)
        contact_sheet(LocalBackend(LocalConfig("miniature", folder)), shipped_entries()).save(sheet)
        click.echo(f"The contact sheet of the entries is in {sheet}.")


def in_parallel(run: Run, *tasks: Callable[[Run], Any]) -> list[Any]:
    """Run each task in its own process with its share of the cores; show one progress bar for each stage."""
    threads = max(1, (os.cpu_count() or 1) // len(tasks))
    spawning = multiprocessing.get_context("spawn")
    progress: Queue[Step] = spawning.Queue()
    with ProcessPoolExecutor(len(tasks), spawning, _start_process, (progress, threads)) as pool:
        futures = [pool.submit(task, run) for task in tasks]
        _show_progress(progress, futures)
        return [future.result() for future in futures]


def _start_process(progress: "Queue[Step]", threads: int) -> None:
    torch.set_num_threads(threads)
    reporting.send = progress.put
    threading.Thread(target=_exit_with_parent, args=(multiprocessing.parent_process(),), daemon=True).start()


def _exit_with_parent(parent: Any) -> None:
    """End this process when its parent has ended for any reason: two runs must not share a folder."""
    parent.join()
    os._exit(1)


def _show_progress(steps: "Queue[Step]", futures: list[Future[Any]]) -> None:
    """Show the progress until all tasks have ended; if one task fails, the other still finishes."""
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
                step = steps.get(timeout=_POLL_S)
            except Empty:
                continue
            if step.stage not in bars:
                bars[step.stage] = progress.add_task(step.stage, total=step.steps, loss=step.loss)
            progress.update(bars[step.stage], completed=step.done, loss=step.loss)


if __name__ == "__main__":
    if any(os.environ.get(name) != value for name, value in _MALLOC.items()):
        command = [sys.executable, "-m", "scripts.train_miniature", *sys.argv[1:]]
        os.execve(sys.executable, command, os.environ | _MALLOC)  # noqa: S606 - restarts this program
    main()
