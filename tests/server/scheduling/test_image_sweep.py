import os
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import update

from server.clock import now
from server.images.repository import Identities
from server.images.store import ImageStore, Variant
from server.images.tables import DatabaseIdentity
from server.scheduling.reaper import Reaper
from tests.server.stored import add_avatar, add_drawn_avatar

FILES = {Variant.FULL: b"png", Variant.THUMBNAIL: b"jpg"}


@pytest.fixture
def images(settings):
    """An empty image store."""
    return ImageStore(settings.server.images_dir)


@pytest.fixture
def folder(settings):
    """The folder of the images' files."""
    return settings.server.images_dir / "avatars"


@pytest.fixture
def reaper(uow, images, settings):
    """The reaper of a process that has just started."""
    return Reaper(uow, images, settings)


@pytest.fixture
def sweep(reaper):
    """Sweep, on a folder that was the database's when it was still empty."""
    reaper.sweep_images()
    return reaper.sweep_images


@pytest.fixture
def put(images):
    """Store an image that is old enough to be swept."""

    def store():
        key = images.put(FILES).key
        age(images, key)
        return key

    return store


@pytest.fixture
def rename_database(owner):
    """Make the database another one: it has another identity."""

    def rename():
        with owner.begin() as tx:
            tx.session.execute(update(DatabaseIdentity).values(identity=uuid4().hex))

    return rename


def paths(images, key, folder="avatars"):
    """Return where the files of an image lie, or would lie."""
    return [images._folder / folder / f"{key}.{variant}" for variant in Variant]


def age(images, key, folder="avatars", **since):
    """Make the files of an image two hours old, or as old as it is said."""
    moment = (now() - timedelta(**(since or {"hours": 2}))).timestamp()
    for path in paths(images, key, folder):
        os.utime(path, (moment, moment))


def is_at(images, key, folder):
    """Return whether both files of an image lie in a folder."""
    return all(path.is_file() for path in paths(images, key, folder))


class TestWrongDatabase:
    def test_an_old_folder_on_an_empty_database(self, reaper, images, put):
        """The first round of a process on an empty migrated database leaves every delivered image alone."""
        keys = [put() for _ in range(3)]
        reaper.round()
        assert all(images.read(key, variant) == FILES[variant] for key in keys for variant in Variant)

    def test_it_draws_into_the_folder(self, uow, reaper, images, put, make_account):
        """A wrong database that has delivered an image into the folder still sweeps none of the others."""
        keys = [put() for _ in range(3)]
        add_drawn_avatar(uow, images, make_account())
        assert reaper.sweep_images() == 0
        assert all(is_at(images, key, "avatars") for key in keys)
        assert images.owner() is None

    def test_a_folder_of_another_database(self, sweep, images, put, rename_database):
        """Nothing is moved aside or purged in a folder that another database owns."""
        quarantined = put()
        assert sweep() == 1
        age(images, quarantined, "quarantine", days=30)
        key = put()
        rename_database()
        assert sweep() == 0
        assert is_at(images, key, "avatars")
        assert is_at(images, quarantined, "quarantine")

    def test_it_is_told_once(self, reaper, put, log_lines):
        """Each process warns once that the folder is not the database's."""
        put()
        for _ in range(3):
            reaper.sweep_images()
        told = [line for line in log_lines() if line["event"] == "images.of_another_database"]
        assert [line["owner"] for line in told] == ["nobody"]


class TestAdoption:
    def test_an_empty_folder(self, uow, sweep, images):
        """A folder without an image becomes the database's at the first sweep."""
        with uow.read() as tx:
            assert images.owner() == Identities(tx).own()

    def test_a_folder_of_an_older_release(self, uow, reaper, images, put, make_account):
        """A folder whose images mostly belong to avatars becomes the database's, and is swept at once."""
        account = make_account()
        owned = [add_drawn_avatar(uow, images, account).image_key for _ in range(2)]
        orphan = put()
        assert reaper.sweep_images() == 1
        assert is_at(images, orphan, "quarantine")
        assert all(is_at(images, key, "avatars") for key in owned)

    def test_two_databases_and_one_empty_folder(self, uow, reaper, images, rename_database):
        """Of two databases on an empty folder the first one gets it."""
        reaper.sweep_images()
        first = images.owner()
        rename_database()
        reaper.sweep_images()
        assert images.owner() == first
        assert not images.give_to("another")


class TestQuarantine:
    def test_orphans_go_and_avatars_stay(self, uow, sweep, images, put, make_account):
        """Only an image that no avatar owns, and that is old enough, is moved, with both of its files."""
        owned = add_drawn_avatar(uow, images, make_account()).image_key
        age(images, owned)
        orphan, young = put(), images.put(FILES).key
        assert sweep() == 1
        assert is_at(images, orphan, "quarantine")
        assert is_at(images, owned, "avatars")
        assert is_at(images, young, "avatars")
        with pytest.raises(FileNotFoundError):
            images.read(orphan, Variant.THUMBNAIL)

    def test_it_is_deleted_after_a_week(self, sweep, images, put):
        """What is in quarantine for longer than a week is deleted, and the rest stays."""
        gone, kept = put(), put()
        assert sweep() == 2
        age(images, gone, "quarantine", days=7, minutes=1)
        age(images, kept, "quarantine", days=6, hours=23)
        sweep()
        assert not any(path.exists() for path in paths(images, gone, "quarantine"))
        assert is_at(images, kept, "quarantine")

    def test_an_old_file_stays_a_week_from_its_move(self, sweep, images, put):
        """The week begins with the move: a file that was a year old before is not deleted at once."""
        key = put()
        age(images, key, days=365)
        for _ in range(2):
            sweep()
        assert is_at(images, key, "quarantine")

    @pytest.mark.parametrize("rest_s", [0, 3600 * 24 * 30])
    def test_what_is_owned_again_comes_back(self, uow, sweep, images, put, make_account, rest_s):
        """After a restored backup an image is where its avatar looks for it, even if its week is over."""
        key = put()
        sweep()
        age(images, key, "quarantine", seconds=rest_s)
        add_avatar(uow, make_account(), image_key=key)
        assert sweep() == 0
        assert images.read(key, Variant.FULL) == b"png"

    def test_the_folder_of_images_is_gone(self, uow, sweep, images, folder, put, make_account):
        """An image comes back also where the folder that it lay in has to be made again."""
        key = put()
        sweep()
        folder.rmdir()
        add_avatar(uow, make_account(), image_key=key)
        sweep()
        assert is_at(images, key, "avatars")

    def test_it_comes_back_from_a_wrong_sweep(self, uow, sweep, images, put, make_account, rename_database):
        """The images of a database come back although another one owns the folder and moved them aside."""
        key = put()
        sweep()
        rename_database()
        add_avatar(uow, make_account(), image_key=key)
        sweep()
        assert is_at(images, key, "avatars")

    def test_a_move_that_is_interrupted(self, sweep, images, put, monkeypatch):
        """A process that dies between the two files of an image leaves nothing behind that stays."""
        key = put()
        replace = Path.replace

        def die_at_the_second(path, target):
            if path.suffix == ".jpg":
                raise KeyboardInterrupt
            return replace(path, target)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "replace", die_at_the_second)
            with pytest.raises(KeyboardInterrupt):
                sweep()
        rest = images._folder / "avatars" / f"{key}.jpg"
        os.utime(rest, (0, 0))
        assert sweep() == 1
        assert is_at(images, key, "quarantine")

    def test_a_users_deletion(self, sweep, images, put):
        """What its user deletes is deleted at once, in quarantine as well."""
        key = put()
        sweep()
        assert images.discard([key]) == 1
        assert not any(path.exists() for path in paths(images, key, "quarantine"))


class TestUnfinishedFiles:
    def test_old_ones_are_deleted(self, sweep, images, folder, put):
        """Half-written files that are as old as an orphan are deleted; younger ones, and others, stay."""
        put()
        old, young, other = (folder / name for name in ("0a.png#1", "0b.jpg#2", "notes#1"))
        for path in (old, young, other):
            path.write_bytes(b"half")
        for path in (old, other):
            os.utime(path, (0, 0))
        sweep()
        assert not old.exists()
        assert young.exists()
        assert other.exists()
