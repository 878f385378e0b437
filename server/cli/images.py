"""images: what is in quarantine, and its end."""

from collections import defaultdict

import click

from server.cli.opening import opened
from server.cli.options import takes_settings
from server.images.store import ImageStore
from server.scheduling.image_sweep import ImageSweep, Owner
from server.settings import Settings


@click.group()
def images() -> None:
    """Look after the images that no avatar owns."""


@images.command()
@click.option("--dry-run", is_flag=True, help="Delete nothing: list what there is, by the day it came there.")
@takes_settings
def purge(settings: Settings, *, dry_run: bool) -> None:
    """Delete the images in quarantine now, not only after IMAGE_QUARANTINE_DAYS.

    What an avatar owns again is moved back to it first.
    """
    with opened(settings) as uow:
        store = ImageStore(settings.server.images_dir)
        sweep = ImageSweep(uow, store, settings)
        if dry_run:
            _list(store)
            return
        restored = sweep.restore()
        if sweep.owner() is not Owner.THIS_DATABASE:
            raise click.ClickException(
                f"{settings.server.images_dir} is not this database's: nothing was deleted"
            )
        click.echo(f"{restored} images were moved back to their avatars, {sweep.purge()} deleted.")


def _list(store: ImageStore) -> None:
    keys: dict[str, set[str]] = defaultdict(set)
    size_bytes: dict[str, int] = defaultdict(int)
    for file in store.quarantine.files():
        day = file.since.date().isoformat()
        keys[day].add(file.key)
        size_bytes[day] += file.size_bytes
    for day in sorted(keys):
        click.echo(f"{day}  {len(keys[day])} images  {size_bytes[day]} bytes")
    click.echo(
        f"{sum(map(len, keys.values()))} images of {sum(size_bytes.values())} bytes are in quarantine."
    )
