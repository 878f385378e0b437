"""Tests the whole stack as an operator starts it, from outside: over HTTP and through Compose.

Run it in its own network: `unshare --net python -m scripts.containers.smoke FOLDER COMPOSE`.
"""

import secrets
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from scripts.containers import backups, compiling, hardening, upgrade
from scripts.containers.engine import ROOT, Engine
from scripts.containers.stack import Stack, User, expect, health_checked, is_ready, new_user, serving, until
from scripts.earlier import CommitMissing

SECRETS: Final = ("postgres_password", "database_owner_password", "database_password", "redis_password")
# What an operator may have in .env for a start without containers. None of it may break the containers.
DOT_ENV: Final = """\
HOST=127.0.0.1
PORT=8080
DATA_DIR=/nowhere
DATABASE_URL=postgresql://somebody@elsewhere/db
DATABASE_URL_FILE=/nowhere/url
DATABASE_PASSWORD=wrong
REDIS_URL=redis://elsewhere:6379/0
REDIS_URL_FILE=/nowhere/url
REDIS_PASSWORD=wrong
HUGGINGFACE_API_KEY=hf_wrong
AUTH_JWT_SECRET=a-secret-of-at-least-thirty-two-bytes
API_MEMORY=2g
"""
DRAWN_MEANWHILE: Final = 3  # the limit is five a minute, and one is drawn before, one after the restart


def run_smoke_test(engine: Engine, compose: Path) -> None:
    """Start the stack, check it, and take it down.

    Raises:
        click.ClickException: a check failed.

    """
    engine.run("ip", "link", "set", "lo", "up")
    stack = Stack(engine, compose)
    (stack.folder / "secrets").mkdir(parents=True)
    for name in SECRETS:
        (stack.folder / "secrets" / name).write_text(secrets.token_hex(24) + "\n")
    (stack.folder / "secrets" / "huggingface_api_key").write_text("\n")
    (stack.folder / "server").symlink_to(ROOT / "server")  # the compose file names a file of it
    with serving(engine), health_checked(stack), taken_down(stack):
        earlier = start_earlier(stack)
        (stack.folder / ".env").write_text(DOT_ENV)
        click.echo("Starting the stack, with settings in .env that contradict it ...")
        stack.call("up", "--detach", "--quiet-pull")
        until("the API is ready", is_ready)
        if earlier is not None:
            upgrade.check(stack, earlier)
        user = new_user(stack)
        draw(user)
        restart_meanwhile(stack, user)
        hardening.check(stack)
        compiling.check(stack)
        backups.check(stack, user)
    if left := stack.containers():
        raise click.ClickException(f"Still running: {left}")
    click.echo("The stack is stopped, and no container is left.")


def start_earlier(stack: Stack) -> upgrade.Earlier | None:
    """Start the earlier release and order from it; return nothing if this copy of the project lacks it."""
    try:
        return upgrade.start_earlier(stack)
    except CommitMissing as missing:
        click.echo(f"SKIPPED: the upgrade is not tested: {missing}")
        return None


def draw(user: User) -> None:
    """Draw an avatar and fetch it."""
    first = user.order()
    picture = user.picture(until("an avatar is drawn", lambda: user.ended(first)))
    expect((picture.format, picture.size), ("PNG", (512, 512)))
    click.echo(f"An avatar of {picture.size[0]} px is drawn and fetched over HTTP.")


def restart_meanwhile(stack: Stack, user: User) -> None:
    """Draw several avatars while the API, Redis and the worker restart."""
    ordered = [user.order() for _ in range(DRAWN_MEANWHILE)]
    until("the worker draws", lambda: any(user.ended(generation) for generation in ordered))
    stack.call("restart", "--timeout", "30", "redis", "worker", "api")
    until("the API is ready", is_ready)
    user.order()
    user.check_all()
    click.echo(
        f"The API, Redis and the worker restarted during {DRAWN_MEANWHILE + 1} generations: none lost, "
        "each charged once."
    )


@contextmanager
def taken_down(stack: Stack) -> Iterator[None]:
    """Take the stack down after the body; show its logs if the body has failed."""
    try:
        yield
    except Exception:
        click.echo(stack.call("logs", "--no-color", "--tail", "40"), err=True)
        raise
    finally:
        stack.call("--profile", "*", "down", "--volumes", "--timeout", "20")


if __name__ == "__main__":
    try:
        run_smoke_test(Engine(Path(sys.argv[1])), Path(sys.argv[2]))
    except click.ClickException as error:
        error.show()
        sys.exit(1)
