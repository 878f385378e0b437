"""Makes backups while the service runs, and restores them. See ADR 27."""

from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from server.accounts.repository import Users
from server.avatars.repository import Avatars
from server.backups.folder import (
    FORMAT,
    IMAGES,
    MANIFEST,
    TABLES,
    BackupDamaged,
    BackupRefused,
    Manifest,
    NoBackup,
    Writer,
    check,
    new_folder,
)
from server.clock import now
from server.db import dump
from server.db.migrate import is_known, migrate, newest_revision, unmigrate
from server.db.unit_of_work import Transaction, UnitOfWork
from server.images.links import SECRET_FILE, shared_secret
from server.images.repository import Identities
from server.images.store import ImageStore, Variant
from server.settings import Settings


class DatabaseInUse(BackupRefused):
    """The database has users, whom a restored backup would replace."""

    def __str__(self) -> str:
        return "The database has users. A backup is restored into an empty one: name it in DATABASE_URL"


@dataclass
class ImagesInUse(BackupRefused):
    """The folder of images belongs to another database."""

    folder: Path

    def __str__(self) -> str:
        return f"{self.folder} belongs to another database. Move it away, or choose another DATA_DIR"


def make(uow: UnitOfWork, settings: Settings, target: Path, previous: Path | None = None) -> Manifest:
    """Back up the database and the images into a new folder.

    previous: an earlier backup on the same disk. Images that it has are linked to it, not copied.

    Raises:
        FolderTaken: the folder exists.
        NoBackup: the previous one is none.

    """
    images = ImageStore(settings.server.images_dir)
    if previous is not None:
        Manifest.read(previous)
    with new_folder(target) as folder, Writer(folder, previous) as writer:
        kept = lacking = 0
        with uow.snapshot() as tx:
            rows = dump.dump(tx.session.connection(), folder / TABLES)
            identity = Identities(tx).own()
            for batch in Avatars(tx).images():
                whole = sum(_keep(writer, images, key, digest) for key, digest in batch.items())
                kept, lacking = kept + whole, lacking + len(batch) - whole
        (folder / SECRET_FILE).write_bytes(shared_secret(settings.server.data_dir))
        manifest = Manifest(
            format=FORMAT,
            made_at=now().isoformat(timespec="seconds"),
            version=version("avatar-creator"),
            revision=newest_revision(),
            identity=identity,
            rows=rows,
            images=kept,
            lacking=lacking,
        )
        manifest.write(folder)
        for path in (SECRET_FILE, MANIFEST, *(f"{TABLES}/{name}{dump.ENDING}" for name in rows)):
            writer.add(path)
    return manifest


def restore(uow: UnitOfWork, settings: Settings, folder: Path) -> Manifest:
    """Bring a backup back into an empty database of either kind, and its images into the data folder.

    It can be repeated after a failure: the database changes last, in one transaction.

    Raises:
        NoBackup: the folder is no backup, or a newer program has made it.
        BackupDamaged: a file is missing or was changed; nothing was restored.
        DatabaseInUse: the database has users.
        ImagesInUse: the folder of images belongs to another database.

    """
    manifest = Manifest.read(folder)
    if not is_known(manifest.revision):
        raise NoBackup(folder, f"avatar-creator {manifest.version} made it, which is newer than this program")
    check(folder)
    migrate(uow.engine)
    with uow.read() as tx:
        _refuse_users(tx)
        own = Identities(tx).own()
    images = ImageStore(settings.server.images_dir)
    if images.owner() not in {None, own, manifest.identity}:
        raise ImagesInUse(settings.server.images_dir)
    for path in sorted((folder / IMAGES).iterdir()):
        with path.open("rb") as file:
            images.bring(path.stem, Variant(path.suffix[1:]), file)
    images.give_to(manifest.identity, anyway=True)
    secret = settings.server.data_dir / SECRET_FILE
    secret.write_bytes((folder / SECRET_FILE).read_bytes())
    secret.chmod(0o600)
    unmigrate(uow.engine, manifest.revision)
    with uow.begin() as tx:
        _refuse_users(tx)  # who came meanwhile
        if dump.load(tx.session.connection(), folder / TABLES) != manifest.rows:
            raise BackupDamaged(folder / TABLES)
    migrate(uow.engine)
    return manifest


def _keep(writer: Writer, images: ImageStore, key: str, digest: str) -> bool:
    """Write an image's files; return whether they are all there and the image is the avatar's."""
    found = []
    for variant in Variant:
        path = f"{IMAGES}/{key}.{variant}"
        try:
            found.append(writer.link(path) or writer.copy(path, images.stream(key, variant)[1]))
        except FileNotFoundError:
            continue
    return len(found) == len(Variant) and found[0] == digest


def _refuse_users(tx: Transaction) -> None:
    if Users(tx).any():
        raise DatabaseInUse
