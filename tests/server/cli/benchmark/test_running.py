"""What the benchmark starts."""

import subprocess
import sys
import time

import psutil
import pytest

from server.cli.benchmark.plan import Weights
from server.cli.benchmark.running import environment, prepared_folder


@pytest.fixture
def operators(tmp_path, monkeypatch):
    """The environment of a server that is in use, and the file of its database."""
    password = tmp_path / "password"
    password.write_text("secret\n", "utf-8")
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'in-use.db'}")
    monkeypatch.setenv("REDIS_URL", "redis://in-use:6379/0")
    monkeypatch.setenv("REDIS_PASSWORD_FILE", str(password))
    return tmp_path / "in-use.db"


class TestOperatorsOwn:
    def test_a_database_in_use_is_left_alone(self, operators):
        """What is prepared for a measurement is a database of its own, wherever the operator's is."""
        with prepared_folder() as folder:
            assert (folder / "avatar-creator.db").is_file()
        assert not operators.exists()

    def test_processes_are_not_told_of_it(self, operators, tmp_path):
        """No process of the benchmark gets an address or a password of the operator's server."""
        told = environment(Weights("miniature"), tmp_path)
        assert told["DATA_DIR"] == str(tmp_path)
        assert not [name for name in told if name.startswith(("DATABASE", "REDIS"))]


class TestEnd:
    def test_told_to_stop_it_ends_what_it_started(self, tmp_path):
        """After SIGTERM to the benchmark no process of its own is left."""
        command = [sys.executable, "-m", "server.cli", "bench", "--only", "api", "--starts", "100"]
        with subprocess.Popen([*command, "--to", str(tmp_path)], stderr=subprocess.DEVNULL) as process:
            bench = psutil.Process(process.pid)
            until = time.monotonic() + 60
            while not (started := [child for child in bench.children() if "api" in child.cmdline()]):
                assert time.monotonic() < until
                time.sleep(0.05)
            process.terminate()
            assert process.wait(60) != 0
        psutil.wait_procs(started, timeout=10)
        assert not [child for child in started if child.is_running()]
