"""The processes that the benchmark starts."""

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
    """The environment of a server in use; returns the file of its database."""
    password = tmp_path / "password"
    password.write_text("secret\n", "utf-8")
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path / 'in-use.db'}")
    monkeypatch.setenv("REDIS_URL", "redis://in-use:6379/0")
    monkeypatch.setenv("REDIS_PASSWORD_FILE", str(password))
    return tmp_path / "in-use.db"


class TestOperatorSettings:
    def test_a_database_in_use_is_left_alone(self, operators):
        """A measurement prepares its own database and does not open the operator's."""
        with prepared_folder() as folder:
            assert (folder / "avatar-creator.db").is_file()
        assert not operators.exists()

    def test_processes_do_not_inherit_the_settings(self, operators, tmp_path):
        """The environment of a child process has no address or password of the operator's server."""
        variables = environment(Weights("miniature"), tmp_path)
        assert variables["DATA_DIR"] == str(tmp_path)
        assert not [name for name in variables if name.startswith(("DATABASE", "REDIS"))]


def api_among(processes):
    """Return the API's process or None; before exec, a fork still shows the benchmark's command line."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.cmdline()[4:5] == ["api"]:
                return process
    return None


SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


class TestStarted:
    def test_a_process_without_a_handle_ends_too(self, monkeypatch):
        """A signal between the start of a process and the return of Popen leaves no process behind."""
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
        """Processes that ran before keep running."""
        with started(SLEEPER, {}) as first:
            with started(SLEEPER, {}) as second:
                pass
            assert second.poll() is not None
            assert first.poll() is None

    def test_sigterm_ends_the_started_processes(self, tmp_path):
        """After SIGTERM to the benchmark none of its child processes is left."""
        command = [sys.executable, "-P", "-m", "server.cli", "bench", "--only", "api", "--starts", "100"]
        with subprocess.Popen([*command, "--to", str(tmp_path)], stderr=subprocess.DEVNULL) as process:
            bench = psutil.Process(process.pid)
            deadline = time.monotonic() + 60
            while (api := api_among(bench.children())) is None and time.monotonic() < deadline:
                time.sleep(0.05)
            process.terminate()
            assert process.wait(60) != 0
        assert api is not None
        assert not psutil.wait_procs([api], timeout=10)[1]
