"""The commands backup and restore."""

import pytest

from server.images.store import ImageStore
from server.supervisor.data_folder import hold
from tests.server.stored import add_drawn_avatar


@pytest.fixture
def avatar(uow, tmp_path, make_account):
    """An avatar in the service that is backed up."""
    return add_drawn_avatar(uow, ImageStore(tmp_path / "data" / "images"), make_account())


class TestBackup:
    def test_there_and_back(self, cli, bare, avatar, tmp_path):
        """An operator backs up, restores into a new data folder of SQLite, and is told what was restored."""
        made = cli("backup", str(tmp_path / "backup"))
        assert made.exit_code == 0, made.output
        assert "rows and 1 images into" in made.output
        restored = bare("restore", str(tmp_path / "backup"), DATA_DIR=str(tmp_path / "new"))
        assert restored.exit_code == 0, restored.output
        assert "rows and 1 images, as they were at 20" in restored.output
        assert (tmp_path / "new" / "images" / "avatars" / f"{avatar.image_key}.png").read_bytes() == b"png"

    def test_only_its_owner_reads_it(self, cli, avatar, tmp_path):
        """The folder and all that is in it are closed to other users."""
        cli("backup", str(tmp_path / "backup"))
        paths = (tmp_path / "backup", *(tmp_path / "backup").rglob("*"))
        assert [path for path in paths if path.stat().st_mode & 0o077] == []

    def test_what_is_not_well_is_said(self, cli, bare, avatar, tmp_path):
        """If an avatar's image was missing, the backup says so, and the restore ends with 1 and names it."""
        ImageStore(tmp_path / "data" / "images").delete(avatar.image_key)
        assert "(1 avatars without their image)" in cli("backup", str(tmp_path / "backup")).output
        restored = bare("restore", str(tmp_path / "backup"), DATA_DIR=str(tmp_path / "new"))
        assert restored.exit_code == 1
        assert "images: 1 avatars lack a file" in restored.output

    def test_a_folder_in_use_is_refused(self, cli, bare, avatar, tmp_path):
        """While `up` runs on the data folder, nothing is restored into it."""
        cli("backup", str(tmp_path / "backup"))
        with hold(tmp_path / "new"):
            restored = bare("restore", str(tmp_path / "backup"), DATA_DIR=str(tmp_path / "new"))
        assert restored.exit_code == 1
        assert "is in use by the process" in restored.output

    def test_a_folder_that_exists(self, cli, tmp_path):
        """A backup into a folder that exists is refused in words."""
        (tmp_path / "backup").mkdir()
        refused = cli("backup", str(tmp_path / "backup"))
        assert refused.exit_code == 1
        assert refused.output.startswith(f"Error: {tmp_path}/backup exists.")

    def test_a_folder_that_cannot_be_written(self, cli, avatar):
        """If the folder cannot be written, as on a full disk, the command says why without a traceback."""
        refused = cli("backup", "/proc/avatar-backup")
        assert refused.exit_code == 1
        assert "Error: The backup is not made: [Errno 2] No such file or directory:" in refused.output
        assert "/proc/avatar-backup.partial" in refused.output

    def test_no_backup(self, bare, tmp_path):
        """A folder that is no backup is refused in words."""
        (tmp_path / "backup").mkdir()
        restored = bare("restore", str(tmp_path / "backup"))
        assert (restored.exit_code, restored.output) == (
            1,
            f"Error: {tmp_path}/backup is no backup: it has no manifest.json\n",
        )
