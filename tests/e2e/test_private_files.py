"""What the program writes is readable for its user only, and what lies around is not run."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from benchmark.plan import Weights
from benchmark.running import environment, program, started
from tests.e2e.program import environment as plain_environment
from tests.e2e.program import wait_for
from tests.server.uploads import files

pytestmark = pytest.mark.e2e

OTHERS = stat.S_IRWXG | stat.S_IRWXO
PLANTED = "import os; os.close(os.open({marker!r}, os.O_CREAT | os.O_WRONLY))\nraise ImportError('planted')\n"


def open_to_others(folder):
    """Return the files and folders that others than the owner may use in any way, with their modes."""
    found = [folder, *folder.rglob("*")]
    modes = {path: stat.S_IMODE(path.lstat().st_mode) for path in found if not path.is_symlink()}
    return {str(path.relative_to(folder)): oct(mode) for path, mode in modes.items() if mode & OTHERS}


def command(data_dir, *arguments, **changes):
    """Run a command of the program under a umask that forbids nothing; return its output."""
    environ = plain_environment(DATA_DIR=str(data_dir), **changes)
    ran = subprocess.run(
        program(*arguments), env=environ, capture_output=True, text=True, umask=0, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return ran.stdout


class TestModes:
    def test_whatever_the_umask(self, program_folder_of_umask_0):
        """Database, journal, secret, images and the address of Redis are their owner's alone."""
        data_dir = program_folder_of_umask_0
        names = {path.name for path in data_dir.rglob("*")}
        assert {"avatar-creator.db", "avatar-creator.db-wal", "image-links.secret", "redis.url"} <= names
        assert any(name.endswith(".png") for name in names)
        assert open_to_others(data_dir) == {}

    @pytest.fixture
    def program_folder_of_umask_0(self, start_hosted):
        """The data folder of a running program that has drawn, started under a umask that forbids nothing."""
        before = os.umask(0)
        try:
            running = start_hosted()
        finally:
            os.umask(before)
        running.user(running.demo["apiKey"], running.demo["projectId"]).drawn(width=512, height=512)
        yield running.data_dir
        running.stop()

    def test_an_older_installation(self, tmp_path):
        """Doctor tells that others can read an older data folder; the API closes it to them."""
        data_dir = tmp_path / "data"
        command(data_dir, "migrate")
        command(data_dir, "seed")
        data_dir.chmod(0o755)
        (data_dir / "avatar-creator.db").chmod(0o644)
        doctor = subprocess.run(
            program("doctor"),
            env=plain_environment(DATA_DIR=str(data_dir)),
            capture_output=True,
            text=True,
            check=False,
        )
        assert doctor.returncode == 1
        assert "others" in doctor.stdout
        assert "chmod" in doctor.stdout
        arguments = program("api", "--port", "0", "--data-dir", str(data_dir))
        with started(arguments, environment(Weights("miniature"), data_dir)):
            wait_for("the folder is closed", lambda: open_to_others(data_dir) == {}, 60)


class TestPlanted:
    @pytest.fixture
    def planted(self, tmp_path):
        """A folder with modules of the names that the program imports, which leave a mark when they run."""
        marker = tmp_path / "ran"
        folder = tmp_path / "planted"
        folder.mkdir()
        for name in ("rq", "PIL", "redis", "json", "sitecustomize", "usercustomize", "server", "inference"):
            (folder / f"{name}.py").write_text(PLANTED.format(marker=str(marker)))
        return folder, marker

    def test_the_program_runs_nothing_of_the_working_directory(self, planted, launch, monkeypatch):
        """The program starts its parts from their packages, wherever the operator stands."""
        folder, marker = planted
        monkeypatch.chdir(folder)
        running = launch()
        script, options = Path(sys.executable).parent / "avatar-creator", ("--data-dir", running.data_dir)
        monkeypatch.setattr(running, "command", lambda *words: [*map(str, (script, *words, *options))])
        running.start_json()
        user = running.user(running.demo["apiKey"], running.demo["projectId"])
        image = files.valid()["PNG"]
        answer = user.client.post(
            f"/api/avatar-creator/projects/{user.project_id}/avatars/upload",
            files={"image": ("a.png", image)},
            data={"name": "Ada"},
        )
        assert answer.status_code == httpx.codes.OK
        running.stop()
        assert not marker.exists()

    def test_the_benchmark_runs_nothing_of_the_working_directory(self, planted, monkeypatch):
        """The benchmark starts the program and its own jobs from their packages."""
        folder, marker = planted
        monkeypatch.chdir(folder)
        ran = subprocess.run(program("--help"), capture_output=True, text=True, check=False)
        assert (ran.returncode, marker.exists()) == (0, False), ran.stderr
