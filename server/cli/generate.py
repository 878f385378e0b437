"""generate: the backend without the server."""

import secrets
from pathlib import Path

import click
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from catalog.entries import shipped_entries
from catalog.orders import Order
from catalog.prompts import compose
from catalog.selection import SizeRejected, Wish, choose
from catalog.tiers import Tier
from catalog.traits import Traits
from inference.backend import Phase
from inference.backend import Progress as Step
from inference.errors import DeviceUnfit, InferenceError
from server.cli.options import takes_settings
from server.settings import Settings
from server.worker.backends import make_backend

ENTRIES = {entry.short_key: entry for entry in shipped_entries()}


@click.command()
@click.argument("prompt")
@click.option(
    "--entry", "short_key", type=click.Choice(list(ENTRIES)), default="flux-dev-base", show_default=True
)
@click.option("--width", type=int, help="In pixels; by default the entry's.")
@click.option("--height", type=int, help="In pixels; by default the entry's.")
@click.option("--seed", type=click.IntRange(0, 2**32 - 1), help="By default a random one, which is printed.")
@click.option(
    "--out", type=click.Path(dir_okay=False, path_type=Path), default="avatar.png", show_default=True
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
    try:
        # The highest tier reaches every entry, so that the named one is chosen.
        choice = choose(entries, Tier.ENTERPRISE, Wish(width, height, ENTRIES[short_key].key))
    except SizeRejected as error:
        raise click.ClickException(str(error)) from error
    order = Order.of_entry(
        choice.entry,
        compose(prompt, Traits(), choice.entry.quality_terms),
        seed=secrets.randbelow(2**32) if seed is None else seed,
        size_px=(choice.width_px, choice.height_px),
    )
    try:
        backend = make_backend(settings, settings.worker.backends[0])
    except DeviceUnfit as error:
        raise click.ClickException(str(error)) from error
    bar = Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with bar:
        task = bar.add_task("starting", total=order.steps)

        def show(step: Step) -> None:
            words = f"step {step.step} of {step.steps}" if step.phase is Phase.STEP else step.phase.value
            bar.update(task, description=words, completed=step.step or None)

        try:
            picture = backend.generate(order, show)
        except InferenceError as error:
            raise click.ClickException(str(error)) from error
        finally:
            backend.close()
    picture.image.save(out, "PNG")
    for warning in picture.warnings:
        click.echo(f"Note: {warning}", err=True)
    click.echo(f"{out}: {picture.image.width}x{picture.image.height}, seed {order.seed}")
