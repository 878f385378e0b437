"""The measurements by name. Each one shows a progress bar while it runs."""

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from typing import Final, NamedTuple

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from benchmark.batching import SIZES, measure_batches, profiles_of
from benchmark.batching import WARM_UPS as BATCH_WARM_UPS
from benchmark.claims import measure_claims
from benchmark.dialects import ROUNDS as WAITING_ROUNDS
from benchmark.dialects import measure_dialects
from benchmark.drawing import measure_drawing
from benchmark.full_width import measure_blocks
from benchmark.history import measure_history
from benchmark.lists import PATHS, measure_lists
from benchmark.machine import describe_machine
from benchmark.overhead import WARM_UPS, measure_overhead
from benchmark.plan import Advance, Plan
from benchmark.record import EntryTiming, Figure, Record
from benchmark.saturation import MODES, measure_saturation
from benchmark.serving import measure_api, measure_up
from benchmark.streams import ROUNDS, measure_streams
from benchmark.submits import measure_postgresql, measure_submits
from benchmark.switching import measure_switching
from benchmark.uploads import measure_uploads


class Measurement(NamedTuple):
    """One measurement, and the number of parts that its progress bar counts."""

    measure: Callable[[Plan, Advance], Sequence[Figure | EntryTiming]]
    parts: Callable[[Plan], int]


def _drawing_parts(plan: Plan) -> int:
    """Count the loads and the images; entries with a LoRA are drawn with and without it."""
    parts = 2 + plan.effort.runs
    bare = sum((1 + entry.realism) * parts for entry in plan.chosen())
    return len(plan.profiles) * (bare + 1) + plan.through_server * len(plan.chosen()) * (1 + plan.effort.runs)


def _batch_parts(plan: Plan) -> int:
    rounds = BATCH_WARM_UPS + plan.effort.runs
    return len(profiles_of(plan)) * len(plan.chosen()) * rounds * len(SIZES)


MEASUREMENTS: Final[dict[str, Measurement]] = {
    "api": Measurement(measure_api, lambda plan: plan.effort.starts),
    "up": Measurement(measure_up, lambda plan: plan.effort.starts),
    "drawing": Measurement(measure_drawing, _drawing_parts),
    "overhead": Measurement(measure_overhead, lambda plan: 2 * (WARM_UPS + plan.effort.images)),
    "saturation": Measurement(measure_saturation, lambda plan: (1 + len(MODES)) * (1 + plan.effort.runs)),
    "submit": Measurement(measure_submits, lambda _: 1),
    "submit-postgresql": Measurement(measure_postgresql, lambda _: 1),
    "lists": Measurement(measure_lists, lambda _: len(PATHS)),
    "upload": Measurement(measure_uploads, lambda plan: plan.effort.uploads),
    "streams": Measurement(measure_streams, lambda _: 2 * ROUNDS),
    "dialects": Measurement(measure_dialects, lambda plan: 8 * (2 + plan.effort.images) + 2 * WAITING_ROUNDS),
    "history": Measurement(measure_history, lambda _: 4),
    "claims": Measurement(measure_claims, lambda _: 5),
    "switching": Measurement(measure_switching, lambda plan: 2 * len(plan.profiles)),
    "batch": Measurement(measure_batches, _batch_parts),
    "blocks": Measurement(measure_blocks, lambda _: 4),
}


def measure(plan: Plan, names: Iterable[str], gpu_usd_per_hour: float | None) -> Record:
    """Run the measurements one after another."""
    figures: dict[str, list[Figure]] = {}
    entries: list[EntryTiming] = []
    loads: dict[str, float] = {}
    for name in names:
        loads[name] = os.getloadavg()[0]
        results = _with_progress_bar(name, plan)
        figures[name] = [result for result in results if isinstance(result, Figure)]
        entries += [result for result in results if isinstance(result, EntryTiming)]
    return Record(
        machine=describe_machine(),
        weights=plan.weights.kind,
        effort=asdict(plan.effort),
        load_average=loads,
        figures=figures,
        entries=entries,
        gpu_usd_per_hour=gpu_usd_per_hour,
    )


def _with_progress_bar(name: str, plan: Plan) -> Sequence[Figure | EntryTiming]:
    measurement = MEASUREMENTS[name]
    columns = (
        TextColumn("{task.fields[measurement]}: {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("preparing", total=measurement.parts(plan), measurement=name)
        begun = False

        def advance(description: str) -> None:
            nonlocal begun
            # The first call announces a part and completes none; each later call completes the part before.
            progress.update(task, description=description, advance=int(begun))
            begun = True

        return measurement.measure(plan, advance)
