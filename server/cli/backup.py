"""backup and restore: the database and the images together."""

from pathlib import Path

import click

from server.backups import service
from server.backups.folder import Manifest, partial_of
from server.cli.findings import Finding
from server.cli.opening import opened
from server.cli.options import FOLDER, takes_settings
from server.cli.reconciliation import reconcile_holds, reconcile_images
from server.credits.service import audit
from server.db.engine import open_database
from server.db.unit_of_work import UnitOfWork
from server.settings import Settings
from server.supervisor.data_folder import hold, private_files


@click.command()
@click.argument("folder", type=FOLDER)
@click.option(
    "--previous",
    type=FOLDER,
    help="An earlier backup on the same disk: images that it has are linked, not copied.",
)
@takes_settings
def backup(settings: Settings, folder: Path, previous: Path | None) -> None:
    """Back up the database and the images into a new FOLDER, while the service runs.

    FOLDER has its name only when the backup is whole. It holds what users wrote: keep it private.
    """
    try:
        with private_files(settings), opened(settings) as uow:
            manifest = service.make(uow, settings, folder, previous)
    except OSError as error:  # its disk is full, or it cannot be written there
        written = f"What was written of it is in {partial_of(folder)}"
        raise click.ClickException(f"The backup is not made: {error}. {written}") from error
    click.echo(f"Backed up {_content(manifest)} into {folder}.")


@click.command()
@click.argument("folder", type=FOLDER)
@takes_settings
def restore(settings: Settings, folder: Path) -> None:
    """Restore the backup in FOLDER into an empty database of either kind and an empty DATA_DIR.

    The exit code is 1 if the restored ledger, holds or images are not well.
    """
    engine = open_database(settings.database)
    uow = UnitOfWork(engine)
    try:
        with private_files(settings), hold(settings.server.data_dir):
            manifest = service.restore(uow, settings, folder)
            findings = [_ledger(uow), *reconcile_holds(uow), *reconcile_images(uow, settings)]
    finally:
        uow.close()
    click.echo(f"Restored {_content(manifest)}, as they were at {manifest.made_at}.")
    faults = [f"{finding.subject}: {finding.words}" for finding in findings if not finding.well]
    if faults:
        raise click.ClickException("\n".join(faults))


def _content(manifest: Manifest) -> str:
    lacking = f" ({manifest.lacking} avatars without their image)" if manifest.lacking else ""
    return f"{sum(manifest.rows.values())} rows and {manifest.images} images{lacking}"


def _ledger(uow: UnitOfWork) -> Finding:
    ledger = audit(uow)
    return Finding("ledger", ledger.passed, f"{len(ledger.drifts)} accounts drift")
