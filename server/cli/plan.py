"""plan: what a card can do with FLUX.1, and where everything would lie."""

from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.table import Table

from catalog.entries import shipped_entries
from inference.local.cards import CARDS, Host
from inference.local.parts import Place
from inference.local.plan import make_plan
from server.cli.options import Number, lacking_libraries, takes_settings
from server.settings import Settings

if TYPE_CHECKING:
    from inference.local.plan import Placed, Plan

WIDTH = 140
"""Of the tables where there is no terminal, in characters."""


@click.command()
@click.option("--gpu", type=click.Choice(list(CARDS)), required=True, help="The card to plan for.")
@click.option(
    "--host-gb",
    type=Number(1, 1_000_000),
    default=64,
    show_default=True,
    help="The memory of the card's machine, in GB of 1e9 bytes.",
)
@takes_settings
def plan(settings: Settings, gpu: str, host_gb: float) -> None:
    """Show at which precision a card draws each entry, where the models lie, and the largest images.

    Needs no card: weights and activations are counted on torch's meta device. The exit code is 1 if the card
    is too small.
    """
    if lacking := lacking_libraries():
        raise click.ClickException(
            f"{lacking} not installed, which count the weights: pip install avatar-creator[worker]"
        )
    # Imported here because --help does not need torch, and an API without the extras has none.
    from inference.local.activations import measure_activations  # noqa: PLC0415
    from inference.local.footprint import count_needs  # noqa: PLC0415

    entries = shipped_entries(settings.catalogue.flux_model, settings.catalogue.flux_lora_model)
    made = make_plan(CARDS[gpu], Host(round(host_gb * 1e9)), count_needs(entries), measure_activations())
    console = Console(width=None if Console().is_terminal else WIDTH)
    console.print(f"[bold]{made.card.name}[/]: {made.why}", highlight=False, soft_wrap=True)
    console.print(_entries(made))
    console.print(_parts(made))
    if made.stream_s:
        click.echo(f"T5 is streamed: each new prompt takes {made.stream_s:.1f} s longer.")
    click.echo("All of this is counted, and nothing is measured: the card need not be here.")


def _entries(made: "Plan") -> Table:
    table = Table("entry", "precision", "place", "swap", "largest image", "largest batch")
    for planned in made.entries:
        width_px, height_px = planned.largest_px
        table.add_row(
            planned.entry.short_key,
            planned.precision.value,
            planned.place.value,
            f"{planned.swap_s:.1f} s" if planned.swap_s else "none",
            f"{width_px}x{height_px}",
            str(planned.largest_batch),
        )
    return table


def _parts(made: "Plan") -> Table:
    table = Table("part", "precision", "GB", "place", "why")
    for placed in made.parts:
        table.add_row(
            placed.part.name,
            placed.precision.value,
            f"{placed.size_bytes / 1e9:.2f}",
            _place(placed),
            placed.why,
        )
    table.caption = (
        f"{made.device_bytes / 1e9:.1f} GB of weights are on the device when the worker has started"
    )
    return table


def _place(placed: "Placed") -> str:
    if placed.place is Place.DEVICE and placed.reloaded_from is not None:
        return f"{placed.place.value}, copy: {placed.reloaded_from.value}"
    return f"{placed.place.value}, streamed" if placed.streamed else placed.place.value
