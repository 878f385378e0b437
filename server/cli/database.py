"""migrate, seed, models."""

from typing import Final

import click
from rich.console import Console
from rich.table import Table

from catalog.entries import shipped_entries
from server.cli.opening import answering, opened
from server.cli.options import takes_settings
from server.db import migrate as migrations
from server.db.engine import Deadlines, open_engine
from server.entries import service as entries
from server.settings import Settings
from server.supervisor.data_folder import private_files

PIPED_COLUMNS: Final = 240  # wide enough that nothing is cut when a program reads the output


@click.command()
@takes_settings
def migrate(settings: Settings) -> None:
    """Bring the database to the newest revision."""
    engine = open_engine(settings.database.url, Deadlines(**settings.database.deadlines))
    with private_files(settings), answering():
        migrations.migrate(engine)
    engine.dispose()
    click.echo("The database is at the newest revision.")


@click.command()
@takes_settings
def seed(settings: Settings) -> None:
    """Write the catalogue's missing or outdated entries; what you changed yourself stays."""
    shipped = shipped_entries(settings.catalogue.flux_model, settings.catalogue.flux_lora_model)
    with opened(settings) as uow:
        written = entries.seed(uow, shipped)
    click.echo(f"Wrote {written} of {len(shipped)} entries.")


@click.command()
@takes_settings
def models(settings: Settings) -> None:
    """List the catalogue, with prices and licences."""
    with opened(settings) as uow:
        found, malformed = entries.examine(uow)
    table = Table("key", "name", "tier", "credits", "size", "steps", "LoRA", "on", "licence")
    for entry in sorted(found, key=lambda entry: (entry.tier.rank, entry.key)):
        table.add_row(
            entry.key,
            entry.name,
            entry.tier.value,
            str(entry.credit_cost),
            f"{entry.width_px}x{entry.height_px}",
            str(entry.steps),
            f"{entry.adapter.model_id} @ {entry.adapter.scale}" if entry.adapter else "-",
            "yes" if entry.enabled else "no",
            f"{entry.licence.name}. {entry.licence.note}",
        )
    console = Console(markup=False)  # "FLUX.1 [dev]" is a licence, not markup
    if not console.is_terminal:
        console.width = PIPED_COLUMNS
    console.print(table)
    if malformed:
        raise click.ClickException("\n".join(str(error) for error in malformed))
