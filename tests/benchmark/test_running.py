"""What the benchmark starts."""

import subprocess
import sys
import time
from contextlib import suppress

import psutil
import pytest

from benchmark.plan import Weights
from benchmark.running import environment, prepared_folder, started


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


def api_among(processes):
    """The API, if it is one of these; a fork has the command of the benchmark until it has its own."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.cmdline()[3:4] == ["api"]:
                return process
    return None


SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


class TestStarted:
    def test_a_process_that_nothing_holds_ends_too(self, monkeypatch):
        """A signal between the start of a process and Popen's return leaves no process behind."""
        lost = []

        def interrupted(*arguments, **options):
            lost.append(start(*arguments, **options))
            raise KeyboardInterrupt

        start = subprocess.Popen
        monkeypatch.setattr(subprocess, "Popen", interrupted)
        with pytest.raises(KeyboardInterrupt), started(SLEEPER, {}):
            pass
        assert lost[0].poll() is not None

    def test_others_are_left_alone(self):
        """What ran before goes on."""
        with started(SLEEPER, {}) as first:
            with started(SLEEPER, {}) as second:
                pass
            assert second.poll() is not None
            assert first.poll() is None

    def test_told_to_stop_the_benchmark_ends_what_it_started(self, tmp_path):
        """After SIGTERM to the benchmark no process of its own is left."""
        command = [sys.executable, "-m", "server.cli", "bench", "--only", "api", "--starts", "100"]
        with subprocess.Popen([*command, "--to", str(tmp_path)], stderr=subprocess.DEVNULL) as process:
            bench = psutil.Process(process.pid)
            until = time.monotonic() + 60
            while (api := api_among(bench.children())) is None and time.monotonic() < until:
                time.sleep(0.05)
            process.terminate()
            assert process.wait(60) != 0
        assert api is not None
        assert not psutil.wait_procs([api], timeout=10)[1]
