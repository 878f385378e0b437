"""What `doctor` finds and repairs of images and holds, and `images purge`."""

import os

import pytest
from sqlalchemy import update

from server.images.store import ImageStore, Variant
from server.images.tables import DatabaseIdentity
from server.scheduling.reaper import Reaper
from tests.server.stored import add_avatar, add_drawn_avatar, end_by_hand

FILES = {Variant.FULL: b"png", Variant.THUMBNAIL: b"jpg"}


@pytest.fixture
def images(tmp_path):
    """The image store of the data folder that the commands use."""
    return ImageStore(tmp_path / "data" / "images")


@pytest.fixture
def sweep(uow, images, settings):
    """Sweep all images that no avatar owns, however young they are, on a folder that is the database's."""
    Reaper(uow, images, settings).sweep_images()
    return Reaper(uow, images, settings.changed(orphan_image_age_s=-60)).sweep_images


@pytest.fixture
def doctor(cli, tmp_path):
    """Run the doctor; return what is missing by subject, and all that it says."""
    (tmp_path / "data").mkdir(exist_ok=True)
    (tmp_path / "data").chmod(0o700)

    def run(*options):
        result = cli("doctor", *options)
        absent = [line.split(maxsplit=1)[1] for line in result.stdout.splitlines() if line.startswith("miss")]
        assert result.exit_code == (1 if absent else 0)
        return dict(line.split(": ", 1) for line in absent), result.stdout

    return run


class TestImages:
    def test_all_well(self, uow, images, make_account, sweep, doctor):
        """Images with and without an owner and in quarantine are counted, and nothing is missing."""
        images.put(FILES)
        sweep()
        images.put(FILES)
        images.put(FILES)
        add_drawn_avatar(uow, images, make_account())
        absent, said = doctor()
        assert absent == {}
        assert "1 belong to avatars, 2 to none, 1 are in quarantine" in said

    def test_a_folder_of_another_database(self, images, doctor):
        """An old folder on an empty database is missing, with the number of images that nobody owns."""
        for _ in range(3):
            images.put(FILES)
        absent, _ = doctor()
        assert absent.keys() == {"image folder"}
        assert "of its images 3 belong to no avatar of this one" in absent["image folder"]
        assert doctor("--repair")[0].keys() == {"image folder"}
        assert images.owner() is None

    def test_it_is_adopted_when_told(self, owner, images, sweep, doctor):
        """A folder of another database becomes this one's by --adopt-images, and only then."""
        sweep()
        with owner.begin() as tx:
            tx.session.execute(update(DatabaseIdentity).values(identity="another"))
        assert doctor("--repair")[0].keys() == {"image folder"}
        absent, said = doctor("--adopt-images")
        assert absent == {}
        assert "belongs to this database now" in said
        assert images.owner() == "another"

    @pytest.mark.parametrize("variant", Variant)
    def test_an_avatar_without_a_file(self, uow, images, make_account, doctor, variant):
        """An avatar of whose image one file or both are gone is missing; a repair cannot help it."""
        account = make_account()
        broken, _whole = (add_drawn_avatar(uow, images, account) for _ in range(2))
        (images._folder / "avatars" / f"{broken.image_key}.{variant}").unlink()
        add_avatar(uow, account)
        assert "2 avatars lack a file" in doctor()[0]["images"]
        assert "2 avatars lack a file" in doctor("--repair")[0]["images"]

    def test_no_folder(self, uow, make_account, doctor, tmp_path):
        """Without a folder the avatars lack their files, and the doctor makes none."""
        assert doctor()[0] == {}
        add_avatar(uow, make_account())
        assert "1 avatars lack their files" in doctor()[0]["images"]
        assert not (tmp_path / "data" / "images").exists()

    def test_a_repair_restores(self, uow, images, make_account, sweep, doctor):
        """An image in quarantine that an avatar owns is missing until the doctor moves it back."""
        key = images.put(FILES).key
        sweep()
        add_avatar(uow, make_account(), image_key=key)
        assert "1 avatars lack a file" in doctor()[0]["images"]
        absent, said = doctor("--repair")
        assert absent == {}
        assert "1 images were moved back" in said
        assert images.read(key, Variant.THUMBNAIL) == b"jpg"


class TestHolds:
    def test_a_repair_voids(self, owner, make_account, submit_one, doctor, balance_of):
        """The hold of a generation that ended without its settlement is missing until it is voided."""
        account = make_account(credits=20)
        ended, _waiting = submit_one(account), submit_one(account)
        end_by_hand(owner, ended.id)
        assert "1 open holds of 8 credits" in doctor()[0]["holds"]
        assert balance_of(account) == 4
        absent, said = doctor("--repair")
        assert absent == {}
        assert f"8 credits back, held for {ended.id}" in said
        assert balance_of(account) == 12


class TestPurge:
    def test_it_deletes_what_is_in_quarantine(self, uow, cli, images, sweep, make_account):
        """A purge deletes all in quarantine but what an avatar owns again, which is moved back."""
        gone, owned = (images.put(FILES).key for _ in range(2))
        sweep()
        add_avatar(uow, make_account(), image_key=owned)
        for path in images._folder.glob("quarantine/*"):
            os.utime(path, (0, 0))
        dry = cli("images", "purge", "--dry-run")
        assert dry.stdout.splitlines() == [
            "1970-01-01  2 images  12 bytes",
            "2 images of 12 bytes are in quarantine.",
        ]
        assert len(list(images._folder.glob("quarantine/*"))) == 4
        assert "1 images were moved back to their avatars, 1 deleted" in cli("images", "purge").stdout
        assert list(images._folder.glob("quarantine/*")) == []
        assert images.read(owned, Variant.FULL) == b"png"
        with pytest.raises(FileNotFoundError):
            images.read(gone, Variant.FULL)

    def test_a_folder_of_another_database(self, owner, cli, images, sweep):
        """Nothing is purged under a database that does not own the folder."""
        images.put(FILES)
        sweep()
        with owner.begin() as tx:
            tx.session.execute(update(DatabaseIdentity).values(identity="another"))
        result = cli("images", "purge")
        assert result.exit_code == 1
        assert "not this database's" in result.stderr
        assert len(list(images._folder.glob("quarantine/*"))) == 2
