"""migrate, roles, seed, models."""

from typing import Final, TextIO

import click
from rich.console import Console
from rich.table import Table

from catalog.entries import shipped_entries
from server.cli.opening import answering, opened
from server.cli.options import takes_settings
from server.db import migrate as migrations
from server.db.engine import open_database
from server.db.roles import NotPostgresql, Role, RoleUnknown, make_roles
from server.entries import service as entries
from server.settings import Settings
from server.supervisor.data_folder import private_files

PIPED_COLUMNS: Final = 240  # wide enough that nothing is cut when a program reads the output


@click.command()
@click.option(
    "--grant-to", "server_role", metavar="ROLE", help="The role of PostgreSQL that the API and workers have."
)
@takes_settings
def migrate(settings: Settings, server_role: str | None) -> None:
    """Bring the database to the newest revision."""
    engine = open_database(settings.database)
    with private_files(settings), answering():
        try:
            migrations.migrate(engine, server_role=server_role)
        except (NotPostgresql, RoleUnknown) as error:
            raise click.ClickException(str(error)) from error
        finally:
            engine.dispose()
    click.echo("The database is at the newest revision.")


@click.command()
@click.option("--owner", metavar="ROLE", default="avatar_owner", show_default=True, help="It will migrate.")
@click.option(
    "--owner-password",
    type=click.File(encoding="utf-8"),
    required=True,
    metavar="FILE",
    help="The owner's password.",
)
@click.option(
    "--server", metavar="ROLE", default="avatar_server", show_default=True, help="It will serve and draw."
)
@click.option(
    "--server-password",
    type=click.File(encoding="utf-8"),
    required=True,
    metavar="FILE",
    help="The serving role's password.",
)
@takes_settings
def roles(
    settings: Settings, owner: str, owner_password: TextIO, server: str, server_password: TextIO
) -> None:
    """Make PostgreSQL's two roles, or set their passwords, as its superuser.

    One role owns the database and its tables, also if another owned them before. The other reads and
    writes rows, and owns nothing.
    """
    owning, serving = Role(owner, _password(owner_password)), Role(server, _password(server_password))
    engine = open_database(settings.database)
    with answering():
        try:
            make_roles(engine, owning, serving)
        except NotPostgresql as error:
            raise click.ClickException(str(error)) from error
        finally:
            engine.dispose()
    click.echo(f"{owner} owns the database, {server} serves.")


def _password(file: TextIO) -> str:
    """Read a password from a file: on a command line everybody on the machine could read it."""
    password = file.read().strip()
    if not password:
        raise click.ClickException(f"{file.name} is empty")
    return password


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
