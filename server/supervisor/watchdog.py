"""The watchdog: starts a worker process, kills it when its progress stops, and starts the next one."""

import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from server.errors import DatabaseAway
from server.logs import get_log
from server.settings import Settings
from server.supervisor.heartbeat import BUSY, READY, Beat

log = get_log(__name__)

LOOK_S: Final = 0.2  # how often a stop request is checked between beats
RESTART_PAUSE_S: Final = (0.0, 1.0, 5.0, 15.0)  # after the first, second, … death without being ready
STOP_MARGIN_S: Final = 10.0
KILL_TIMEOUT_S: Final = 30.0  # a process that waits in a driver dies when the driver returns, or never


def host() -> str:
    """Return the prefix of the names of this host's workers."""
    return socket.gethostname()[:24]


class Watchdog:
    """Keeps one worker process alive on one device. Imports neither torch nor a database.

    return_work: takes the name of a dead worker and whether it was ever ready; returns its work.
    """

    def __init__(
        self,
        settings: Settings,
        return_work: Callable[[str, bool], object],
        backend: str,
        command: Sequence[str] = (sys.executable, "-P", "-m", "server.worker"),
    ) -> None:
        self._settings = settings
        self._return_work_of = return_work
        self._backend = backend
        self._command = command
        self.ready = threading.Event()
        """Set while the worker is warm."""
        self.pid: int | None = None

    def run(self, stopped: threading.Event) -> None:
        """Keep a worker running until stopped; then let it finish or release what it draws."""
        failures = 0
        while not stopped.is_set():
            began_ready = self._run_one(stopped)
            if stopped.is_set():
                return
            failures = 0 if began_ready else failures + 1
            stopped.wait(RESTART_PAUSE_S[min(failures, len(RESTART_PAUSE_S) - 1)])

    def _run_one(self, stopped: threading.Event) -> bool:
        """Run one worker process until it ends; return whether it was ready at any time."""
        name = f"{host()}-{uuid.uuid4().hex[:12]}"
        reading, writing = os.pipe()
        try:
            child = self._spawn(name, writing)
        except BaseException:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        self.pid = child.pid
        was_ready = False
        try:
            was_ready = self._watch(child, reading, stopped)
            if stopped.is_set():
                self._stop(child)
        finally:
            self._kill(child)
            self.ready.clear()
            self.pid = None
            os.close(reading)
            if child.stdin:
                child.stdin.close()
            self._return_work(name, was_ready=was_ready or stopped.is_set())
        if not stopped.is_set():
            log.warning("worker.died", worker=name, exit_code=child.returncode)
        return was_ready

    def _spawn(self, name: str, heartbeat: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603  # our own module
            [*self._command, name, str(heartbeat), str(self._settings.server.data_dir), self._backend],
            stdin=subprocess.PIPE,  # the worker exits when this pipe closes
            pass_fds=[heartbeat],
            start_new_session=True,  # Ctrl-C reaches the watchdog only, which stops the worker
        )

    def _watch(self, child: subprocess.Popen[bytes], reading: int, stopped: threading.Event) -> bool:
        """Follow the heartbeat until the worker ends, hangs or has to stop; return whether it was ready."""
        deadline: float | None = time.monotonic() + self._settings.worker.load_timeout_s
        was_ready, rest = False, b""
        while child.poll() is None and not stopped.is_set():
            if select.select([reading], [], [], LOOK_S)[0]:
                received = os.read(reading, 65_536)
                if not received:
                    with suppress(subprocess.TimeoutExpired):
                        child.wait(KILL_TIMEOUT_S)
                    break
                *lines, rest = (rest + received).split(b"\n")
                for beat in map(Beat.decode, lines):
                    if beat.state == READY:
                        was_ready = True
                        self.ready.set()
                    limit_s = beat.timeout_s if beat.state == BUSY else None
                    deadline = None if limit_s is None else time.monotonic() + limit_s
            elif deadline is not None and time.monotonic() > deadline:
                log.error("worker.hangs", pid=child.pid)
                break
        return was_ready

    def _stop(self, child: subprocess.Popen[bytes]) -> None:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(self._settings.worker.shutdown_grace_s + STOP_MARGIN_S)
        except subprocess.TimeoutExpired:
            log.error("worker.did_not_stop", pid=child.pid)  # noqa: TRY400  # nothing to trace

    def _kill(self, child: subprocess.Popen[bytes]) -> None:
        """Kill a worker. If it does not die, go on without it: its work must return to the queue."""
        child.kill()
        try:
            child.wait(KILL_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            log.critical("worker.does_not_die", pid=child.pid, hint="Restart the machine")

    def _return_work(self, name: str, *, was_ready: bool) -> None:
        """Return the work of a dead worker without waiting for its lease to run out."""
        try:
            self._return_work_of(name, was_ready)
        except DatabaseAway:
            log.warning("worker.work_not_returned", worker=name)  # it is returned when the lease runs out
        except Exception:  # the next worker must start, whatever is wrong with the work of this one
            log.exception("worker.work_not_returned", worker=name)
