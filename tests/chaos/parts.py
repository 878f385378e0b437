"""The processes of the program under test, each kept running as a container runtime keeps it."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil

from tests.e2e.program import environment

LOOK_S = 0.1
RESTART_PAUSE_S = 0.3
STOP_TIMEOUT_S = 40


class Part:
    """One long-running command of the program. It is started again whenever it ends, until it is stopped.

    niceness: of its processes, where this user may choose it.
    """

    def __init__(
        self,
        name: str,
        command: list[str],
        data_dir: Path,
        log_file: Path,
        niceness: int = 0,
        **changes: str,
    ) -> None:
        self.name = name
        self.log_file = log_file
        self.restarts = 0
        self._command = [sys.executable, "-P", "-m", "server.cli", *command, "--data-dir", str(data_dir)]
        self._changes = changes
        self._niceness = niceness
        self._process: subprocess.Popen[bytes] | None = None
        self._stopped = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name=f"keeper of {name}")

    def start(self) -> None:
        """Start it, and the thread that keeps it running."""
        self._spawn()
        self._keeper.start()

    def processes(self) -> list[psutil.Process]:
        """Return its process and all that it has started, itself first."""
        if self._process is None:
            return []
        with suppress(psutil.NoSuchProcess):
            own = psutil.Process(self._process.pid)
            return [own, *own.children(recursive=True)]
        return []

    def send(self, number: signal.Signals) -> None:
        """Send a signal to its first process."""
        if self._process is not None:
            self._process.send_signal(number)

    def begin_to_stop(self) -> None:
        """Ask it to stop, and do not start it again."""
        self._stopped.set()
        if self._process is not None:
            self._keeper.join()
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()

    def stop(self) -> int:
        """Wait until it has stopped; return its exit status, -9 if it had to be killed."""
        if self._process is None:
            return 0
        try:
            return self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            left = self.processes()
            for process in left:
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            self._process.wait()
            return -signal.SIGKILL

    def _spawn(self) -> None:
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=environment(**self._changes),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        with suppress(PermissionError, ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, self._process.pid, self._niceness)

    def _keep(self) -> None:
        while not self._stopped.wait(LOOK_S):
            assert self._process is not None
            if self._process.poll() is not None:
                time.sleep(RESTART_PAUSE_S)
                self.restarts += 1
                self._spawn()


def resume(processes: list[psutil.Process]) -> None:
    """Let processes go on that were stopped."""
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGCONT)
