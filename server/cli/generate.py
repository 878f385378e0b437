"""generate: the backend without the server."""

import secrets
from pathlib import Path
from typing import Any, Final

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from catalog.entries import shipped_entries
from catalog.orders import Order
from catalog.prompts import compose
from catalog.selection import Wish, choose
from catalog.tiers import Tier
from catalog.traits import Traits
from inference.backend import Phase
from inference.backend import Progress as Step
from server.cli.options import FILE, check_prompt, takes_settings
from server.settings import Settings
from server.worker.backends import make_backend

ENTRIES: Final = {entry.short_key: entry for entry in shipped_entries()}
FORMATS: Final[dict[str, tuple[str, dict[str, Any]]]] = {
    ".png": ("PNG", {}),
    ".jpg": ("JPEG", {"quality": 95}),
    ".jpeg": ("JPEG", {"quality": 95}),
    ".webp": ("WEBP", {"lossless": True}),
}
"""The format of a file by its ending, and how it is written."""


def _check_ending(_context: click.Context, _parameter: click.Parameter, out: Path) -> Path:
    """Check that the file's ending names a format.

    Raises:
        click.BadParameter: it names none.

    """
    if out.suffix.lower() not in FORMATS:
        raise click.BadParameter(f"its name must end with {', '.join(FORMATS)}")
    return out


@click.command()
@click.argument("prompt", callback=check_prompt)
@click.option(
    "--entry", "short_key", type=click.Choice(list(ENTRIES)), default="flux-dev-base", show_default=True
)
@click.option("--width", type=int, help="In pixels; by default the entry's.")
@click.option("--height", type=int, help="In pixels; by default the entry's.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="By default a random one, which is printed.")
@click.option(
    "--out",
    type=FILE,
    default="avatar.png",
    show_default=True,
    callback=_check_ending,
    help="Its ending is its format: .png, .jpg, .jpeg or .webp.",
)
@takes_settings
def generate(
    settings: Settings,
    prompt: str,
    short_key: str,
    width: int | None,
    height: int | None,
    seed: int | None,
    out: Path,
) -> None:
    """Draw PROMPT on this machine, without the server."""
    entries = shipped_entries(settings.catalogue.flux_model, settings.catalogue.flux_lora_model)
    # The highest tier reaches every entry, so that the named one is chosen.
    choice = choose(entries, Tier.ENTERPRISE, Wish(width, height, ENTRIES[short_key].key))
    order = Order.of_entry(
        choice.entry,
        compose(prompt, Traits(), choice.entry.quality_terms),
        seed=secrets.randbelow(2**32) if seed is None else seed,
        size_px=(choice.width_px, choice.height_px),
    )
    _require_writable(out)
    backend = make_backend(settings, settings.worker.backends[0])
    columns = TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("starting", total=order.steps)

        def show(step: Step) -> None:
            words = f"step {step.step} of {step.steps}" if step.phase is Phase.STEP else step.phase.value
            bar.update(task, description=words, completed=step.step or None)

        try:
            picture = backend.generate(order, show)
        finally:
            backend.close()
    kind, how = FORMATS[out.suffix.lower()]
    picture.image.save(out, kind, **how)
    for warning in picture.warnings:
        click.echo(f"Note: {warning}", err=True)
    click.echo(f"{out}: {picture.image.width}x{picture.image.height}, seed {order.seed}")


def _require_writable(out: Path) -> None:
    """Open a file for writing and leave all as it was: before drawing takes its time.

    Raises:
        OSError: it cannot be written.

    """
    is_new = not out.exists()
    out.open("ab").close()
    if is_new:
        out.unlink()
