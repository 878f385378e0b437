"""Moves a running deployment of the earlier release to today's while it draws."""

from dataclasses import replace
from pathlib import Path
from typing import Final

import click

from scripts.containers.stack import Stack, User, is_ready, new_user, until
from scripts.earlier import COMMIT, unpack

ORDERED: Final = 4
_REVISION: Final = (
    "from server.settings import Settings; from server.db.engine import open_engine; "
    "print(open_engine(Settings.from_environment().database.url).connect()"
    ".exec_driver_sql('SELECT version_num FROM alembic_version').scalar())"
)


def run_earlier_and_upgrade(stack: Stack) -> None:
    """Start the earlier release's compose file with its code, order avatars, and update meanwhile.

    Raises:
        CommitMissing: this copy of the project does not have the earlier release.
        click.ClickException: a check failed.

    """
    folder = stack.engine.folder / "earlier"
    unpack(folder)
    earlier = replace(
        stack,
        file=folder / "docker-compose.gpu.yml",
        override=Path(__file__).parent / "compose.earlier.yml",
    )
    click.echo(f"Starting the stack of the earlier release, {COMMIT[:7]} ...")
    earlier.call("up", "--detach", "--quiet-pull")
    until("the earlier API is ready", is_ready)
    user = new_user(earlier)
    before = earlier.inside("api", "python3", "-c", _REVISION).strip()
    for _ in range(ORDERED):
        user.order()
    until("the earlier worker draws", lambda: drawing(user))
    stack.call("up", "--detach", "--quiet-pull")
    until("the API is ready", is_ready)
    user.check_all()
    after = stack.inside("api", "python3", "-c", _REVISION).strip()
    if before == after:
        raise click.ClickException(f"Both releases have the revision {after}: nothing was migrated")
    if "all postings sum to zero" not in stack.inside("api", "sh", "-c", "avatar-creator doctor || true"):
        raise click.ClickException("doctor finds the ledger wrong")
    click.echo(
        f"Updated from revision {before} to {after} in the middle of {ORDERED} generations: none lost, "
        "each charged once."
    )


def drawing(user: User) -> bool:
    """Return whether the worker has begun and is not done."""
    states = [user.generation(generation)["status"] for generation in user.ordered]
    return "processing" in states
