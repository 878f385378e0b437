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
from dataclasses import dataclass
from typing import Final

from server.errors import DatabaseAway
from server.logs import get_log
from server.settings import Settings
from server.supervisor.device_circuit import DeviceCircuit
from server.supervisor.heartbeat import READY, Beat

log = get_log(__name__)

LOOK_S: Final = 0.2  # how often a stop request is checked between beats
RESTART_PAUSE_S: Final = (0.0, 1.0, 5.0, 15.0)  # after the first, second, … death without being ready
STOP_MARGIN_S: Final = 10.0
KILL_TIMEOUT_S: Final = 30.0  # a process that waits in a driver dies when the driver returns, or never
CRASHES: Final = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS, signal.SIGILL, signal.SIGFPE)

ReturnWork = Callable[[str, bool, str | None], object]
"""Is given a dead worker's name, whether it was ever ready, and why no worker can draw, if that is known."""


@dataclass
class Life:
    """What a watchdog learnt of one worker process. cause: why its device ended it, if that is known."""

    was_ready: bool = False
    cause: str | None = None


def host() -> str:
    """Return the prefix of the names of this host's workers."""
    return socket.gethostname()[:24]


def _crash(exit_code: int, *, was_ready: bool) -> str | None:
    """Return how a process crashed; None if somebody killed it, or it never began to draw."""
    if -exit_code in CRASHES:
        return f"It crashed: {signal.strsignal(-exit_code)}"
    return f"It ended by itself with status {exit_code}: see its log" if was_ready and exit_code > 0 else None


class Watchdog:
    """Keeps one worker process alive on one device. Imports neither torch nor a database.

    return_work: returns the work of a dead worker. device: what the worker draws on, instead of DEVICE.
    """

    def __init__(
        self,
        settings: Settings,
        return_work: ReturnWork,
        backend: str,
        command: Sequence[str] = (sys.executable, "-P", "-m", "server.worker"),
        *,
        device: str | None = None,
    ) -> None:
        self._settings = settings
        self._return_work_of = return_work
        self._backend = backend
        self._command = command
        self._device = device
        self._circuit = DeviceCircuit()
        self.ready = threading.Event()
        """Set while the worker is warm."""
        self.pid: int | None = None

    def run(self, stopped: threading.Event) -> None:
        """Keep a worker running until stopped; then let it finish or release what it draws."""
        failures = 0
        while not stopped.is_set():
            was_ready = self._run_one(stopped)
            if stopped.is_set():
                return
            failures = 0 if was_ready else failures + 1
            pause_s = RESTART_PAUSE_S[min(failures, len(RESTART_PAUSE_S) - 1)]
            stopped.wait(max(pause_s, self._circuit.pause_s()))

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
        life = Life()
        try:
            self._watch(child, reading, stopped, life)
            if stopped.is_set():
                self._stop(child)
        finally:
            self._kill(child)
            self.ready.clear()
            self.pid = None
            os.close(reading)
            if child.stdin:
                child.stdin.close()
            self._bury(name, child, life, was_stopped=stopped.is_set())
        return life.was_ready

    def _bury(self, name: str, child: subprocess.Popen[bytes], life: Life, *, was_stopped: bool) -> None:
        """Record the end of a worker and return its work."""
        if was_stopped:
            self._return_work(name, was_ready=True, cause=None)
            return
        cause = life.cause or _crash(child.returncode or 0, was_ready=life.was_ready)
        if cause is not None:
            self._circuit.record()
        if pause_s := self._circuit.pause_s():
            log.error("worker.circuit_open", cause=cause, pause_s=pause_s)
        is_known = cause is not None and (pause_s or not life.was_ready)
        self._return_work(name, was_ready=life.was_ready, cause=cause if is_known else None)
        log.warning("worker.died", worker=name, exit_code=child.returncode)

    def _spawn(self, name: str, heartbeat: int) -> subprocess.Popen[bytes]:
        return subprocess.Popen(  # noqa: S603  # our own module
            [*self._command, name, str(heartbeat), str(self._settings.server.data_dir), self._backend],
            stdin=subprocess.PIPE,  # the worker exits when this pipe closes
            pass_fds=[heartbeat],
            env=os.environ if self._device is None else os.environ | {"DEVICE": self._device},
            start_new_session=True,  # Ctrl-C reaches the watchdog only, which stops the worker
        )

    def _watch(
        self, child: subprocess.Popen[bytes], reading: int, stopped: threading.Event, life: Life
    ) -> None:
        """Follow the heartbeat until the worker ends, hangs or has to stop, and note what it says."""
        limit_s: float | None = self._settings.worker.load_timeout_s
        deadline: float | None = time.monotonic() + self._settings.worker.load_timeout_s
        rest = b""
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
                        life.was_ready = True
                        self.ready.set()
                    life.cause = beat.cause
                    limit_s = beat.timeout_s
                    deadline = None if limit_s is None else time.monotonic() + limit_s
            elif deadline is not None and time.monotonic() > deadline:
                log.error("worker.hangs", pid=child.pid)
                life.cause = life.cause or f"It hung: no progress within {limit_s:g} s"
                break

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

    def _return_work(self, name: str, *, was_ready: bool, cause: str | None) -> None:
        """Return the work of a dead worker without waiting for its lease to run out."""
        try:
            self._return_work_of(name, was_ready, cause)
        except DatabaseAway:
            log.warning("worker.work_not_returned", worker=name)  # it is returned when the lease runs out
        except Exception:  # the next worker must start, whatever is wrong with the work of this one
            log.exception("worker.work_not_returned", worker=name)
