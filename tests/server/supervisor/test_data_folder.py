import os
import subprocess
import sys

import pytest

from server.supervisor.data_folder import DataFolderHeld, hold

HOLDER = """
import sys, time
from pathlib import Path
from server.supervisor.data_folder import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the folder."""
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait(10)
    process.stdout.close()


class TestHold:
    def test_a_second_process_gets_the_holders_id(self, tmp_path, holder):
        """The error of a second process has the holder's process id, and the holder keeps the folder."""
        for _ in range(2):
            with pytest.raises(DataFolderHeld, match=rf"process {holder.pid}\b") as held, hold(tmp_path):
                pytest.fail("two hold one folder")
            assert held.value.holder == str(holder.pid)
            assert str(tmp_path) in str(held.value)

    def test_a_killed_holder_releases_it(self, tmp_path, holder):
        """The system releases the folder of a process that SIGKILL has ended."""
        holder.kill()
        holder.wait(10)
        with hold(tmp_path):
            assert (tmp_path / "up.lock").read_text() == str(os.getpid())

    def test_it_is_released_at_the_end(self, tmp_path):
        """After the body the folder is free, also if the body failed; a missing folder is created."""
        folder = tmp_path / "new" / "folder"
        with pytest.raises(RuntimeError, match="the body"), hold(folder):
            raise RuntimeError("the body")
        with hold(folder):
            pass
