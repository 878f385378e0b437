"""weights: download the catalogue's models from the Hugging Face hub."""

from pathlib import Path
from typing import TYPE_CHECKING

import click
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column, Table

from catalog.entries import shipped_entries
from server.cli.options import FOLDER, takes_settings
from server.settings import Settings

if TYPE_CHECKING:
    from inference.weights.download import Inventory, Store

ENTRIES = [entry.short_key for entry in shipped_entries()]


@click.group()
def weights() -> None:
    """Download FLUX.1 and the Realism LoRA."""


@weights.command()
@click.option(
    "--entry",
    "names",
    type=click.Choice(ENTRIES),
    multiple=True,
    help="Fetch only the models of this entry; may be repeated. By default all.",
)
@click.option(
    "--to",
    type=FOLDER,
    help="The folder of all models. By default MODELS_DIR, else 'models' in the data folder.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be fetched, and fetch nothing.")
@takes_settings
def download(settings: Settings, names: tuple[str, ...], to: Path | None, *, dry_run: bool) -> None:
    """Fetch the models of the catalogue, each file once and checked by its hash.

    A new run checks the files that exist, and continues an interrupted download. Exit codes: 3 the licence
    was not accepted, 4 no token or a wrong one, 5 not on the hub, 6 no space, 7 the hub does not answer,
    8 a file damaged, 9 a file truncated, 10 the catalogue needs two revisions of one model, 11 a file too
    long.
    """
    # Imported here because --help does not need them, and an API without the extras has no huggingface_hub.
    from huggingface_hub import HfApi, get_token  # noqa: PLC0415

    from inference.weights.download import Store  # noqa: PLC0415
    from inference.weights.hub_session import use_for_hub  # noqa: PLC0415
    from inference.weights.remote_files import list_remote_files, required_files  # noqa: PLC0415
    from outbound.addresses import AddressPolicy  # noqa: PLC0415

    use_for_hub(AddressPolicy.of(settings.outbound.allowed_networks), settings.outbound.proxy_url)
    entries = shipped_entries(settings.catalogue.flux_model, settings.catalogue.flux_lora_model)
    chosen = [entry for entry in entries if not names or entry.short_key in names]
    store = Store(
        (to or settings.worker.models_dir or settings.server.data_dir / "models").expanduser().absolute()
    )
    hub = HfApi(token=settings.hosted.api_key or get_token() or False)
    console = Console(stderr=True)
    files = list_remote_files(hub, store.with_recorded_revisions(required_files(chosen)))
    with _progress(console) as progress:
        task = progress.add_task("checking", total=None)
        inventory = store.inspect(files, lambda count: progress.advance(task, count))
    console.print(_table(inventory, store))
    store.check_space(inventory)
    if dry_run:
        return
    with _progress(console) as progress:
        task = progress.add_task("fetching", total=inventory.bytes_to_fetch + inventory.partial_bytes)
        store.fetch(hub, inventory, lambda count: progress.advance(task, count))
    click.echo(f"MODELS_DIR={store.folder}")


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description:9}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def _table(inventory: "Inventory", store: "Store") -> Table:
    """Show the size of each model, how much of it is on this machine, and the free disk space."""
    duplicates = [file for file, _ in inventory.duplicates]
    columns = ("revision", "files", "size", "here", "to fetch")
    table = Table(Column("model", overflow="fold"), *columns, caption=_caption(inventory, store))
    everything = [*inventory.complete, *inventory.missing, *duplicates]
    for model_id in dict.fromkeys(file.model_id for file in everything):
        of_model = [file for file in everything if file.model_id == model_id]
        missing = [file for file in of_model if file in inventory.missing]
        complete_bytes = sum(file.size_bytes for file in of_model if file in inventory.complete)
        table.add_row(
            model_id,
            of_model[0].revision[:12],
            str(len(of_model)),
            _size(sum(file.size_bytes for file in of_model)),
            _size(complete_bytes),
            _size(sum(file.size_bytes for file in missing)),
        )
    return table


def _caption(inventory: "Inventory", store: "Store") -> str:
    shared_bytes = sum(file.size_bytes for file, _ in inventory.duplicates)
    words = f"{_size(inventory.bytes_to_fetch)} to fetch"
    if inventory.partial_bytes:
        words += f" (besides {_size(inventory.partial_bytes)} fetched before)"
    if shared_bytes:
        words += f", {_size(shared_bytes)} shared between models"
    return f"{words}; {_size(store.free_bytes())} free at {store.folder}"


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"  # noqa: PLR2004 - a tenth of a GB
