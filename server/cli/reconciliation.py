"""The doctor's comparison of images with avatars and of holds with generations, and its repairs."""

from collections.abc import Iterator

from server.avatars.repository import Avatars
from server.cli.findings import Finding, missing, ok
from server.db.unit_of_work import UnitOfWork
from server.generations.holds import Holds, void_stranded
from server.images.store import ImageStore
from server.scheduling.image_sweep import Counts, ImageSweep, Owner
from server.settings import Settings


def reconcile_holds(uow: UnitOfWork) -> Iterator[Finding]:
    """Compare the open holds with the unfinished generations."""
    with uow.read() as tx:
        stranded, without = Holds(tx).stranded(), Holds(tx).count_without()
    if stranded:
        held = sum(hold.credits for hold in stranded)
        words = f"{len(stranded)} open holds of {held} credits belong to no unfinished generation"
        yield missing("holds", f"{words}: run 'avatar-creator doctor --repair', which gives them back")
    if without:
        yield missing("holds", f"{without} unfinished generations hold no credits: cancel them")
    if not stranded and not without:
        yield ok("holds", "each open hold belongs to an unfinished generation, and each of these has one")


def reconcile_images(uow: UnitOfWork, settings: Settings) -> Iterator[Finding]:
    """Compare the files of images with the avatars. Makes no folder where there is none."""
    folder = settings.server.images_dir
    if not folder.is_dir():
        with uow.read() as tx:
            owned = Avatars(tx).count_all()
        words = (
            f"{folder} does not exist, and {owned} avatars lack their files: check DATA_DIR, or restore it"
        )
        yield missing("images", words) if owned else ok("images", "there is none yet")
        return
    sweep = ImageSweep(uow, ImageStore(folder), settings)
    counts = sweep.count()
    yield _owner(sweep, counts, settings)
    lacking = len(sweep.lacking())
    if lacking:
        words = f"{lacking} avatars lack a file: run 'avatar-creator doctor --repair', or restore the folder"
        yield missing("images", words)
    quarantined = sweep.quarantined()
    words = f"{counts.owned} belong to avatars, {counts.unowned} to none, {quarantined} are in quarantine"
    yield ok("images", words)


def repairs(uow: UnitOfWork, settings: Settings, *, safe: bool, adopt: bool) -> Iterator[str]:
    """Mend what is asked for; yield what was done, in words."""
    sweep = ImageSweep(uow, ImageStore(settings.server.images_dir), settings)
    if adopt and sweep.owner() is not Owner.THIS_DATABASE:
        sweep.adopt_anyway()
        yield f"{settings.server.images_dir} belongs to this database now"
    if not safe:
        return
    yield f"{sweep.restore()} images were moved back from quarantine"
    voided = void_stranded(uow)
    yield f"{len(voided)} holds were voided"
    for hold in voided:
        yield f"user {hold.user_id} has {hold.credits} credits back, held for {hold.reference_id}"


def _owner(sweep: ImageSweep, counts: Counts, settings: Settings) -> Finding:
    folder, owner = settings.server.images_dir, sweep.owner()
    if owner is Owner.THIS_DATABASE:
        return ok("image folder", f"{folder} belongs to this database")
    if owner is Owner.NOBODY and counts.fit:
        return ok("image folder", f"{folder} belongs to no database yet: the next sweep gives it to this one")
    whose = "another database" if owner is Owner.ANOTHER else "no database"
    words = f"{folder} belongs to {whose}, and of its images {counts.unowned} belong to no avatar of this one"
    advice = "check DATABASE_URL and DATA_DIR, or run 'avatar-creator doctor --adopt-images'"
    return missing("image folder", f"{words}. Nothing is swept: {advice}")
