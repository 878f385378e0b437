"""The API process of `up`, on a socket that outlives it."""

import errno
import socket
import subprocess
import sys
import threading
from typing import Final

from server.logs import get_log
from server.settings import Settings
from server.supervisor.shutdown import keep_running

log = get_log(__name__)

STOP_TIMEOUT_S: Final = 15.0
LOOK_S: Final = 0.1
RESTART_PAUSE_S: Final = 1.0


CAUSES: Final = {
    errno.EADDRINUSE: "it is in use. Stop what uses it, or choose --port",
    errno.EACCES: "this user may not listen there. Choose --port above 1023",
    errno.EPERM: "this user may not listen there. Choose --port above 1023",
    errno.EADDRNOTAVAIL: "this machine has no such address. Set HOST to one that it has",
}
"""Why nobody can listen on an address, and what to do."""


class AddressUnusable(RuntimeError):
    """Nobody can listen on an address; the message says why."""

    def __init__(self, host: str, port: int, error: OSError) -> None:
        unknown = f"the system says '{error.strerror or error}'. Check HOST"
        super().__init__(f"Port {port} on {host}: {CAUSES.get(error.errno or 0, unknown)}")
        self.host = host
        self.port = port


class ApiProcess:
    """Keeps one API process alive. While it restarts, clients wait in the socket's queue."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._socket = listen(settings.server.host, settings.server.port)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The URL for clients on this machine."""
        host, port = self._socket.getsockname()[:2]
        return reachable(host, port)

    def run(self, stopped: threading.Event) -> None:
        """Keep the API running until stopped; then let it finish its open requests."""
        try:
            keep_running("api process", self._keep, stopped)
        finally:
            self._stop()

    def _keep(self, stopped: threading.Event) -> None:
        while not stopped.is_set():
            process = self._spawn()
            while process.poll() is None and not stopped.wait(LOOK_S):
                pass
            if stopped.is_set():
                return
            log.warning("api.died", exit_code=process.returncode)
            stopped.wait(RESTART_PAUSE_S)

    def _spawn(self) -> subprocess.Popen[bytes]:
        descriptor = self._socket.fileno()
        command = [
            sys.executable,
            "-P",  # a file of the working directory is no module of ours
            "-m",
            "server.cli",
            "api",
            "--exit-with-parent",
            "--socket",
            str(descriptor),
        ]
        self._process = subprocess.Popen(  # noqa: S603  # our own module
            [*command, "--data-dir", str(self._settings.server.data_dir)],
            stdin=subprocess.PIPE,  # the API exits when this pipe closes
            pass_fds=[descriptor],
            start_new_session=True,  # Ctrl-C reaches `up` only, which stops this process
        )
        return self._process

    def _stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
            if self._process.stdin:
                self._process.stdin.close()
        self._socket.close()


def reachable(host: str, port: int) -> str:
    """Return the URL for clients on this machine of what listens on a host and a port."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104  # compared
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def listen(host: str, port: int) -> socket.socket:
    """Return a listening socket; port 0 takes a free one.

    Raises:
        AddressUnusable: another program has the port, this user may not, or it is no address of this machine.

    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=1024)
    except OSError as error:
        raise AddressUnusable(host, port, error) from error
