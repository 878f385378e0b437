"""weights: fetch from the Hugging Face hub what the catalogue draws with."""

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
from inference.weights.errors import DownloadFailed
from server.cli.options import takes_settings
from server.settings import Settings

if TYPE_CHECKING:
    from inference.weights.download import Standing, Store

ENTRIES = [entry.short_key for entry in shipped_entries()]


@click.group()
def weights() -> None:
    """Fetch FLUX.1 and the Realism LoRA."""


@weights.command()
@click.option(
    "--entry",
    "names",
    type=click.Choice(ENTRIES),
    multiple=True,
    help="Only what this entry draws with; may be repeated. By default all.",
)
@click.option(
    "--to",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder of all models. By default MODELS_DIR, else 'models' in the data folder.",
)
@click.option("--dry-run", is_flag=True, help="Show what would be fetched, and fetch nothing.")
@takes_settings
def download(settings: Settings, names: tuple[str, ...], to: Path | None, *, dry_run: bool) -> None:
    """Fetch what the catalogue draws with, each file once and checked by its hash.

    Interrupted, it goes on where it stopped; run again, it checks what is there. Exit codes: 3 the licence
    was not accepted, 4 no token or a wrong one, 5 not on the hub, 6 no space, 7 the hub does not answer,
    8 a file damaged, 9 truncated.
    """
    # Not for --help, and not in an API without the extras that bring huggingface_hub.
    from huggingface_hub import HfApi, get_token  # noqa: PLC0415

    from inference.weights.download import Store  # noqa: PLC0415
    from inference.weights.remote_files import survey, wanted  # noqa: PLC0415

    entries = shipped_entries(settings.catalogue.flux_model, settings.catalogue.flux_lora_model)
    chosen = [entry for entry in entries if not names or entry.short_key in names]
    store = Store(
        (to or settings.worker.models_dir or settings.server.data_dir / "models").expanduser().absolute()
    )
    hub = HfApi(token=settings.hosted.api_key or get_token() or False)
    console = Console(stderr=True)
    try:
        files = survey(hub, store.recorded(wanted(chosen)))
        with _progress(console) as progress:
            task = progress.add_task("checking", total=None)
            standing = store.inspect(files, lambda count: progress.advance(task, count))
        console.print(_table(standing, store))
        store.check_space(standing)
        if dry_run:
            return
        with _progress(console) as progress:
            task = progress.add_task("fetching", total=standing.bytes_to_fetch + standing.partial_bytes)
            store.fetch(hub, standing, lambda count: progress.advance(task, count))
    except DownloadFailed as error:
        click.echo(f"Error: {error}", err=True)
        raise SystemExit(error.exit_code) from error
    except PermissionError as error:
        raise click.ClickException(f"{error.filename} cannot be written by this user") from error
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


def _table(standing: "Standing", store: "Store") -> Table:
    """Say what each model takes, what of it is here, and what the disk holds."""
    twins = [file for file, _ in standing.twins]
    columns = ("revision", "files", "size", "here", "to fetch")
    table = Table(Column("model", overflow="fold"), *columns, caption=_caption(standing, store))
    everything = [*standing.complete, *standing.lacking, *twins]
    for model_id in dict.fromkeys(file.model_id for file in everything):
        own = [file for file in everything if file.model_id == model_id]
        lacking = [file for file in own if file in standing.lacking]
        here = sum(file.size_bytes for file in own if file in standing.complete)
        table.add_row(
            model_id,
            own[0].revision[:12],
            str(len(own)),
            _size(sum(file.size_bytes for file in own)),
            _size(here),
            _size(sum(file.size_bytes for file in lacking)),
        )
    return table


def _caption(standing: "Standing", store: "Store") -> str:
    shared = sum(file.size_bytes for file, _ in standing.twins)
    words = f"{_size(standing.bytes_to_fetch)} to fetch"
    if standing.partial_bytes:
        words += f" ({_size(standing.partial_bytes)} of it came before)"
    if shared:
        words += f", {_size(shared)} shared between models"
    return f"{words}; {_size(store.free_bytes())} free at {store.folder}"


def _size(count: int) -> str:
    return f"{count / 1e9:.2f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"  # noqa: PLR2004 - a tenth of a GB
