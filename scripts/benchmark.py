"""Measures the server on this machine and prints a Markdown table, the targets beside the figures.

Each measurement is one function in MEASUREMENTS; docs/performance.md explains every figure.
"""

import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

import click
import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own
from benchmark_drawing import measure_drawing
from benchmark_server import (
    Advance,
    Effort,
    Figure,
    measure_api,
    measure_overhead,
    measure_submits,
    measure_up,
)
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

Measurement = Callable[[Effort, Path, Advance], list[Figure]]

MEASUREMENTS: Final[dict[str, Measurement]] = {
    "api": measure_api,
    "up": measure_up,
    "drawing": measure_drawing,
    "overhead": measure_overhead,
    "submit": measure_submits,
}
PACKAGES: Final = ("torch", "diffusers", "litestar", "sqlalchemy", "rq", "uvicorn")
ROOT: Final = Path(__file__).parent.parent
DEFAULTS: Final = Effort()


@click.command()
@click.option("--only", multiple=True, type=click.Choice(list(MEASUREMENTS)), help="By default all.")
@click.option(
    "--json", "json_file", type=click.Path(dir_okay=False, path_type=Path), help="Write it here too."
)
@click.option("--starts", type=click.IntRange(min=1), default=DEFAULTS.starts, show_default=True)
@click.option("--images", type=click.IntRange(min=2), default=DEFAULTS.images, show_default=True)
@click.option("--submits", type=click.IntRange(min=2), default=DEFAULTS.submits, show_default=True)
@click.option("--clients", type=click.IntRange(min=1), default=DEFAULTS.clients, show_default=True)
@click.option(
    "--models-dir",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where weights are; by default the miniature's, built for this run.",
)
def main(only: tuple[str, ...], json_file: Path | None, models_dir: Path | None, **repeats: int) -> None:
    """Measure what the server costs beside the drawing."""
    effort = Effort(**repeats)
    machine = describe_machine()
    figures: dict[str, list[Figure]] = {}
    loads: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in only or MEASUREMENTS:
            loads[name] = os.getloadavg()[0]
            figures[name] = measured(name, effort, (models_dir or Path(scratch)).absolute())
    click.echo(as_markdown(machine, [figure for found in figures.values() for figure in found]))
    busy = {name: load for name, load in loads.items() if load > 1}
    if busy:
        click.echo(f"\nThe machine was busy when these began (load average): {busy}. Measure again later.")
    if json_file is not None:
        told = {
            "machine": machine,
            "effort": asdict(effort),
            "load_average": loads,
            "figures": {name: [as_json(figure) for figure in found] for name, found in figures.items()},
        }
        json_file.write_text(json.dumps(told, indent=2) + "\n", "utf-8")


def measured(name: str, effort: Effort, models_dir: Path) -> list[Figure]:
    """Run one measurement behind a progress bar."""
    columns = (TextColumn("{task.fields[measurement]}: {task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("preparing", total=None, measurement=name)
        return MEASUREMENTS[name](
            effort, models_dir, lambda word: progress.update(task, description=word, advance=1)
        )


def describe_machine() -> dict[str, Any]:
    """Return what the figures depend on: the machine, the versions and the commit."""
    git = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=12"]
    described = subprocess.run(git, check=False, capture_output=True, text=True)  # noqa: S603  # fixed words
    return {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "system": platform.platform(),
        "processor": _processor(),
        "cores": psutil.cpu_count(),
        "memory_gib": round(psutil.virtual_memory().total / 2**30, 1),
        "accelerator": _accelerator(),
        "python": platform.python_version(),
        "versions": {package: version(package) for package in PACKAGES},
        "commit": described.stdout.strip() or "unknown",
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown"
    )


def _accelerator() -> str:
    asked = "import torch; print(torch.cuda.get_device_name() if torch.cuda.is_available() else 'none')"
    # In a process of its own: the benchmark must not hold the memory that it measures.
    told = subprocess.run([sys.executable, "-c", asked], check=False, capture_output=True, text=True)  # noqa: S603  # fixed words
    return told.stdout.strip() or "unknown"


def as_markdown(machine: dict[str, Any], figures: list[Figure]) -> str:
    """Return the figures as a table that docs/performance.md can hold."""
    rows = ["| figure | value | target | |", "|---|---:|---|---|"]
    for figure in figures:
        verdict = {True: "ok", False: "**missed**", None: ""}[figure.met]
        rows.append(
            f"| {figure.name} | {_rounded(figure.value)} {figure.unit} | {figure.target} | {verdict} |"
        )
    where = f"{machine['cores']} cores ({machine['processor']}), accelerator: {machine['accelerator']}"
    return "\n".join([f"{machine['at']}, commit {machine['commit']}, {where}", "", *rows])


def _rounded(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"  # noqa: PLR2004  # three digits


def as_json(figure: Figure) -> dict[str, Any]:
    """Return a figure with its verdict."""
    return asdict(figure) | {"met": figure.met}


if __name__ == "__main__":
    main()
