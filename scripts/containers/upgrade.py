"""Moves a running deployment of the earlier release to today's while it draws."""

from dataclasses import dataclass, replace
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


@dataclass(frozen=True)
class Earlier:
    """A user of the running earlier release with orders that are being drawn, and its database's revision."""

    user: User
    revision: str


def start_earlier(stack: Stack) -> Earlier:
    """Start the earlier release's compose file with its code, order avatars, and wait until one is drawn.

    Raises:
        CommitMissing: this copy of the project does not have the earlier release.

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
    revision = earlier.inside("api", "python3", "-c", _REVISION).strip()
    for _ in range(ORDERED):
        user.order()
    until("the earlier worker draws", lambda: drawing(user))
    return Earlier(user, revision)


def check(stack: Stack, earlier: Earlier) -> None:
    """Check that today's stack, which runs now, has lost nothing of the earlier release's.

    Raises:
        click.ClickException: a check failed.

    """
    earlier.user.check_all()
    revision = stack.inside("api", "python3", "-c", _REVISION).strip()
    if revision == earlier.revision:
        raise click.ClickException(f"Both releases have the revision {revision}: nothing was migrated")
    if "all postings sum to zero" not in stack.inside("api", "sh", "-c", "avatar-creator doctor || true"):
        raise click.ClickException("doctor finds the ledger wrong")
    click.echo(
        f"Updated from revision {earlier.revision} to {revision} in the middle of {ORDERED} generations: "
        "none lost, each charged once."
    )


def drawing(user: User) -> bool:
    """Return whether the worker has begun and is not done."""
    states = [user.generation(generation)["status"] for generation in user.ordered]
    return "processing" in states
