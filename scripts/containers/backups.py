"""Backs up the running stack, throws all of its volumes away, and restores them."""

import shutil
from pathlib import Path
from typing import Final

import click

from scripts.containers.stack import Stack, User, is_ready, until

INSIDE: Final = "/data/backup"
OURS: Final = 10001
"""The user of our images: a backup is closed to all others."""


def check(stack: Stack, user: User) -> None:
    """Back up, lose everything, restore, and find a user's avatars, images and credits as they were.

    Raises:
        click.ClickException: something is not as it was.

    """
    before = pictures(user)
    stack.inside("api", "avatar-creator", "backup", INSIDE)
    folder = stack.engine.folder / "backup"
    stack.call("cp", f"api:{INSIDE}", str(folder))
    give_to_us(folder)
    stack.call("--profile", "*", "down", "--volumes", "--timeout", "20")
    # The service `migrate` has the password of the tables' owner, who alone may restore.
    said = stack.call("run", "--rm", "--volume", f"{folder}:/backup:ro", "migrate", "restore", "/backup")
    stack.call("up", "--detach", "--quiet-pull")
    until("the API is ready", is_ready)
    user.check_all()
    if pictures(user) != before:
        raise click.ClickException("The restored images are not those that were backed up")
    click.echo(said.strip().splitlines()[-1])


def pictures(user: User) -> list[bytes]:
    """Return the images of all of a user's orders."""
    return [user.picture(user.generation(generation)).tobytes() for generation in user.ordered]


def give_to_us(folder: Path) -> None:
    """Make the files those of the user that our containers run as."""
    for path in (folder, *folder.rglob("*")):
        shutil.chown(path, OURS, OURS)
