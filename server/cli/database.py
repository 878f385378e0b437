"""migrate, roles: the database itself."""

from typing import TextIO

import click

from server.cli.options import ROLE, takes_settings
from server.db import migrate as migrations
from server.db.engine import open_database
from server.db.roles import Role, make_roles
from server.settings import Settings
from server.supervisor.data_folder import private_files


@click.command()
@click.option(
    "--grant-to",
    "server_role",
    type=ROLE,
    metavar="ROLE",
    help="The role of PostgreSQL that the API and workers have.",
)
@takes_settings
def migrate(settings: Settings, server_role: str | None) -> None:
    """Bring the database to the newest revision."""
    engine = open_database(settings.database)
    try:
        with private_files(settings):
            migrations.migrate(engine, server_role=server_role)
    finally:
        engine.dispose()
    click.echo("The database is at the newest revision.")


@click.command()
@click.option(
    "--owner", type=ROLE, metavar="ROLE", default="avatar_owner", show_default=True, help="It will migrate."
)
@click.option(
    "--owner-password",
    type=click.File(encoding="utf-8", lazy=True),
    required=True,
    metavar="FILE",
    help="The owner's password.",
)
@click.option(
    "--server",
    type=ROLE,
    metavar="ROLE",
    default="avatar_server",
    show_default=True,
    help="It will serve and draw.",
)
@click.option(
    "--server-password",
    type=click.File(encoding="utf-8", lazy=True),
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
    try:
        make_roles(engine, owning, serving)
    finally:
        engine.dispose()
    click.echo(f"{owner} owns the database, {server} serves.")


def _password(file: TextIO) -> str:
    """Read a password from a file: on a command line everybody on the machine could read it."""
    try:
        password = file.read().strip()
    except UnicodeDecodeError:
        password = ""
    if not password:
        raise click.ClickException(f"{file.name} has no text in it")
    return password
