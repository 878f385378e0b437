"""Backups made and restored, from and into databases of either kind."""

import gzip
import subprocess

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from server.accounts.repository import Users
from server.avatars.repository import Avatars, AvatarUses
from server.avatars.tables import AvatarUse
from server.backups.folder import MANIFEST, BackupDamaged, FolderTaken, NoBackup
from server.backups.service import DatabaseInUse, ImagesInUse, make, restore
from server.clock import now
from server.credits.service import audit
from server.db.dump import RowMisfit, dump
from server.db.engine import open_engine
from server.db.migrate import unmigrate
from server.db.unit_of_work import UnitOfWork
from server.generations import settlement
from server.generations.states import Reason
from server.idempotency.tables import KeptAnswer
from server.images.links import SECRET_FILE, shared_secret
from server.images.store import ImageStore, Variant
from server.scheduling.image_sweep import ImageSweep, Owner
from server.spending.tables import SpendingDay
from tests.databases import OWNER, as_role
from tests.server.stored import add_drawn_avatar, provenance_of

FILES = {Variant.FULL: b"png", Variant.THUMBNAIL: b"jpg"}


@pytest.fixture
def images(settings):
    """The image store of the service that is backed up."""
    return ImageStore(settings.server.images_dir)


@pytest.fixture
def account(uow, images, settings, make_account, submit_one, claim):
    """A user with something in every table: generations in each state, avatars, uses, keys, kept answers."""
    account = make_account()
    waits, lost, fails, succeeds = (submit_one(account, name=name) for name in ("a", "b", "c", "d"))
    held = {claimed.generation_id: claimed for claimed in (claim() for _ in range(4))}
    settlement.release(uow, held[waits.id])
    settlement.fail(uow, held[fails.id], Reason.INTERNAL_ERROR, 'said "ü\n"')
    settlement.complete(uow, held[succeeds.id], images.put(FILES), provenance_of(succeeds), {"step": 0.25})
    assert lost.id in held
    avatar = add_drawn_avatar(uow, images, account, name="Ünï\u2028 'x'", generation_id=None)
    with uow.begin() as tx:
        AvatarUses(tx).add(AvatarUse(avatar_id=avatar.id, app_id="a", app_name="A", action="used"))
        tx.session.add(SpendingDay(day=now().date(), microusd=7))
        kept = {"user_id": account.user_id, "key": "k", "request_digest": "d", "answer": b"\x00\xff"}
        tx.session.add(KeptAnswer(**kept))
    return account


def _opened(url):
    return UnitOfWork(open_engine(url))


def _rows(uow, folder):
    """Return the content of every table."""
    with uow.snapshot() as tx:
        dump(tx.session.connection(), _made(folder))
    return {path.name: gzip.decompress(path.read_bytes()) for path in folder.iterdir()}


@pytest.fixture
def elsewhere(settings, tmp_path, make_database):
    """Make an empty service of a kind elsewhere: its settings and its unit of work as the schema's owner."""
    opened = []

    def make_empty(kind):
        uow = _opened(as_role(make_database(kind), OWNER))
        opened.append(uow)
        return settings.changed(data_dir=tmp_path / f"elsewhere{len(opened)}"), uow

    yield make_empty
    for uow in opened:
        uow.close()


class TestRestore:
    @pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
    def test_all_comes_back(self, uow, settings, images, account, elsewhere, tmp_path, kind):
        """Every row, every image and the addresses of images are as they were, in either database."""
        secret = shared_secret(settings.server.data_dir)
        manifest = make(uow, settings, tmp_path / "backup")
        there, restored = elsewhere(kind)
        assert restore(restored, there, tmp_path / "backup") == manifest
        assert _rows(restored, tmp_path / "after") == _rows(uow, tmp_path / "before")
        assert audit(restored).passed
        assert (manifest.images, manifest.lacking) == (2, 0)
        with restored.read() as tx:
            keys = [key for batch in Avatars(tx).images() for key in batch]
        for key in keys:
            assert ImageStore(there.server.images_dir).read(key, Variant.THUMBNAIL) == b"jpg"
        assert ImageSweep(restored, ImageStore(there.server.images_dir), there).owner() is Owner.THIS_DATABASE
        assert (there.server.data_dir / SECRET_FILE).read_bytes() == secret

    @pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
    def test_the_service_goes_on(self, uow, settings, account, elsewhere, tmp_path, kind):
        """New rows get new numbers, and the triggers that guard the ledger are there again."""
        make(uow, settings, tmp_path / "backup")
        there, restored = elsewhere(kind)
        restore(restored, there, tmp_path / "backup")
        with restored.begin() as tx:
            settlement.cancel_within(tx, [])
        settlement.return_lost(restored, "worker-1")
        with restored.begin() as tx, pytest.raises(DBAPIError):
            tx.session.execute(text("UPDATE ledger_postings SET amount = 0"))
        assert audit(restored).passed

    def test_a_database_with_users_is_refused(self, uow, settings, account, tmp_path):
        """A database that has users is not replaced."""
        make(uow, settings, tmp_path / "backup")
        with pytest.raises(DatabaseInUse):
            restore(uow, settings, tmp_path / "backup")

    def test_another_database_s_images_are_refused(self, uow, settings, account, elsewhere, tmp_path):
        """Images are not put among those of another database."""
        make(uow, settings, tmp_path / "backup")
        there, restored = elsewhere("sqlite")
        ImageStore(there.server.images_dir).give_to("another")
        with pytest.raises(ImagesInUse):
            restore(restored, there, tmp_path / "backup")

    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    def test_a_row_that_does_not_fit(self, uow, settings, images, account, elsewhere, tmp_path):
        """If a name is too long for PostgreSQL, the error says in which table, and no row is restored."""
        add_drawn_avatar(uow, images, account, name="long" * 100, generation_id=None)
        make(uow, settings, tmp_path / "backup")
        there, restored = elsewhere("postgresql")
        with pytest.raises(RowMisfit, match=r"A row of avatars does not fit.*: value too long for type"):
            restore(restored, there, tmp_path / "backup")
        with restored.read() as tx:
            assert not Users(tx).any()

    def test_a_damaged_file_is_refused(self, uow, settings, account, elsewhere, tmp_path):
        """If a file of the backup was changed or is gone, nothing is restored, and the error names it."""
        make(uow, settings, tmp_path / "backup")
        there, restored = elsewhere("sqlite")
        path = tmp_path / "backup" / "tables" / "avatars.jsonl.gz"
        path.write_bytes(gzip.compress(b'["id"]\n'))
        with pytest.raises(BackupDamaged) as raised:
            restore(restored, there, tmp_path / "backup")
        assert raised.value.path == path
        path.unlink()
        with pytest.raises(BackupDamaged):
            restore(restored, there, tmp_path / "backup")
        with restored.read() as tx:
            assert not Users(tx).any()

    def test_it_can_be_repeated(self, uow, settings, account, elsewhere, tmp_path, monkeypatch):
        """A restore that was interrupted before the database changed can be repeated."""
        make(uow, settings, tmp_path / "backup")
        there, restored = elsewhere("sqlite")
        with monkeypatch.context() as patched:
            patched.setattr("server.backups.service.dump.load", lambda *_: {})
            with pytest.raises(BackupDamaged):
                restore(restored, there, tmp_path / "backup")
        restore(restored, there, tmp_path / "backup")
        assert audit(restored).passed

    def test_an_empty_database_may_have_no_tables(self, uow, settings, account, elsewhere, tmp_path):
        """A database without tables is migrated first."""
        manifest = make(uow, settings, tmp_path / "backup")
        there, restored = elsewhere("sqlite")
        unmigrate(restored.engine)
        assert restore(restored, there, tmp_path / "backup") == manifest

    def test_a_newer_backup_is_refused(self, uow, settings, account, elsewhere, tmp_path):
        """A backup of a revision that this program does not know is refused."""
        make(uow, settings, tmp_path / "backup")
        there, restored = elsewhere("sqlite")
        path = tmp_path / "backup" / MANIFEST
        path.write_text(path.read_text().replace('"revision": "', '"revision": "9'))
        with pytest.raises(NoBackup, match="newer than this program"):
            restore(restored, there, tmp_path / "backup")


class TestMake:
    def test_it_is_checked_by_sha256sum(self, uow, settings, account, tmp_path):
        """The digests are in the form that sha256sum reads, and name every file."""
        make(uow, settings, tmp_path / "backup")
        command = ("sha256sum", "--check", "--strict", "SHA256SUMS")
        checked = subprocess.run(command, cwd=tmp_path / "backup", capture_output=True, text=True, check=True)
        files = [path for path in (tmp_path / "backup").rglob("*") if path.is_file()]
        assert len(checked.stdout.splitlines()) == len(files) - 1

    def test_a_folder_that_exists_is_left_alone(self, uow, settings, tmp_path):
        """A backup overwrites nothing, whole or interrupted."""
        (tmp_path / "backup.partial").mkdir()
        with pytest.raises(FolderTaken) as raised:
            make(uow, settings, tmp_path / "backup")
        assert raised.value.folder.name == "backup.partial"

    def test_an_interrupted_one_has_no_name(self, uow, settings, account, tmp_path, monkeypatch):
        """What fails in the middle leaves a folder that no restore takes for a backup."""
        monkeypatch.setattr("server.backups.service.shared_secret", lambda _: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            make(uow, settings, tmp_path / "backup")
        assert not (tmp_path / "backup").exists()
        with pytest.raises(NoBackup):
            restore(uow, settings, tmp_path / "backup.partial")

    def test_images_of_a_previous_one_are_linked(self, uow, settings, images, account, tmp_path):
        """Images that the previous backup has are its files; later ones are copied."""
        make(uow, settings, tmp_path / "first")
        avatar = add_drawn_avatar(uow, images, account)
        assert make(uow, settings, tmp_path / "second", tmp_path / "first").images == 3
        links = {path.name: path.stat().st_nlink for path in (tmp_path / "second" / "images").iterdir()}
        assert {name for name, number in links.items() if number == 1} == {
            f"{avatar.image_key}.png",
            f"{avatar.image_key}.jpg",
        }

    def test_images_that_are_missing_or_other_are_counted(self, uow, settings, images, account, tmp_path):
        """An image without a file, or with another content than recorded, is not counted as whole."""
        images.delete(add_drawn_avatar(uow, images, account).image_key)
        avatar = add_drawn_avatar(uow, images, account)
        (settings.server.images_dir / "avatars" / f"{avatar.image_key}.png").write_bytes(b"damaged")
        manifest = make(uow, settings, tmp_path / "backup")
        assert (manifest.images, manifest.lacking) == (2, 2)

    def test_it_sees_one_moment(self, uow, account, tmp_path):
        """What is committed while the tables are written is in none of them."""
        with uow.snapshot() as tx:
            first = dump(tx.session.connection(), _made(tmp_path / "one"))
            with uow.begin() as other:
                Users(other).add("late@example.com", account.tier)
            assert dump(tx.session.connection(), _made(tmp_path / "two")) == first


def _made(folder):
    folder.mkdir()
    return folder
