"""A real API process with few descriptors, its log, and a client that behaves well beside attackers."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import httpx
import psutil

from benchmark.plan import Weights
from benchmark.running import database, environment, is_ready, prepared_folder, program, started
from benchmark.serving import CREDITS, new_client
from server.credits.repository import Ledger
from tests.e2e.program import wait_for

if TYPE_CHECKING:
    from subprocess import Popen

MIB = 2**20
MAX_MIB = 250
ATTACKER = "127.0.0.2"
"""Another address than the one of the client that behaves well: the system has the whole of 127.0.0.0/8."""


class EdgeApi:
    """A running API process, and one user of it."""

    def __init__(self, process: "Popen[str]", port: int, log_file: Path, uow: Any) -> None:
        self.process, self.port, self.log_file, self.uow = psutil.Process(process.pid), port, log_file, uow
        self._sockets: list[socket.socket] = []
        self.user = new_client(uow)
        self.token = self.user["token"]
        self.project = f"/api/avatar-creator/projects/{self.user['project_id']}"

    def connect(self, source: str = ATTACKER) -> socket.socket:
        """Open a connection from an address of this machine; `hang_up` closes it."""
        self._sockets.append(self.open_socket(source))
        return self._sockets[-1]

    def open_socket(self, source: str = ATTACKER) -> socket.socket:
        """Open a connection that its user closes."""
        here = ("127.0.0.1", self.port)
        return socket.create_connection(here, timeout=60, source_address=(source, 0))

    def hang_up(self) -> None:
        """Close all connections that were opened."""
        while self._sockets:
            self._sockets.pop().close()

    def head(self, method: str, path: str, *lines: str) -> bytes:
        """Return the head of a request by the user."""
        standard = ("Host: x", f"Authorization: Bearer {self.token}")
        return "\r\n".join([f"{method} {path} HTTP/1.1", *standard, *lines, "", ""]).encode()

    def client(self) -> httpx.Client:
        """Return a client of the user that behaves well."""
        headers = {"Authorization": f"Bearer {self.token}"}
        base = f"http://127.0.0.1:{self.port}"
        return httpx.Client(base_url=base, headers=headers, timeout=30, trust_env=False)

    def peak_mib(self) -> float:
        """Return the most memory that the process ever held."""
        status = Path(f"/proc/{self.process.pid}/status").read_text("ascii")
        (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024

    def spent(self) -> int:
        """Return what the user spent."""
        with self.uow.read() as tx:
            return CREDITS - Ledger(tx).available(self.user["user_id"])

    def lines(self) -> list[dict[str, Any]]:
        """Return the lines of the log; fail where one is no object of JSON, as the lines of a traceback."""
        return [json.loads(line) for line in self.log_file.read_text("utf-8").splitlines()]

    def faults(self) -> list[dict[str, Any]]:
        """Return the lines of the log that say that something is wrong with the server."""
        return [
            line for line in self.lines() if line["level"] not in ("debug", "info") or "exception" in line
        ]

    def connections(self) -> list[Any]:
        """Return the connections of clients that the process holds."""
        return [each for each in self.process.net_connections("tcp") if each.status != psutil.CONN_LISTEN]

    def quiet(self) -> None:
        """Wait until the process holds no connection any more."""
        wait_for("no connection is left", lambda: not self.connections(), 30)


@contextmanager
def running_edge(folder: Path, *, descriptors: str = "-n 256", **settings: str) -> Iterator[EdgeApi]:
    """Start an API process with so many descriptors and these settings. descriptors: options of `ulimit`."""
    log_file = folder / "api.log"
    with ExitStack() as stack:
        data_dir = stack.enter_context(prepared_folder())
        uow = stack.enter_context(database(data_dir))
        log = stack.enter_context(log_file.open("w"))
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        limited = ["sh", "-c", f'ulimit {descriptors} && exec "$@"', "sh"]
        command = [*limited, *program("api"), "--port", str(port), "--data-dir", str(data_dir)]
        environ = environment(Weights("miniature"), data_dir) | settings
        process = stack.enter_context(started(command, environ, stderr=log.fileno()))
        wait_for("the API is ready", lambda: is_ready(port))
        running = EdgeApi(process, port, log_file, uow)
        yield running
        running.hang_up()


class Bystander:
    """Asks for something cheap, each time over a connection of its own, for as long as the body runs."""

    def __init__(self, api: EdgeApi) -> None:
        self._api = api
        self.seconds: list[float] = []
        self.failures: list[str] = []
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._ask)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        time.sleep(0.5)
        self._stopped.set()
        self._thread.join()

    def _ask(self) -> None:
        while not self._stopped.wait(0.02):
            began = time.perf_counter()
            connection = HTTPConnection("127.0.0.1", self._api.port, timeout=30)
            try:
                authorization = {"Authorization": f"Bearer {self._api.token}"}
                connection.request("GET", "/api/credits/balance", headers=authorization)
                answer = connection.getresponse()
                answer.read()
                if answer.status != httpx.codes.OK:
                    self.failures.append(str(answer.status))
            except (OSError, HTTPException) as error:
                self.failures.append(repr(error))
            finally:
                connection.close()
            self.seconds.append(time.perf_counter() - began)

    @property
    def p99_ms(self) -> float:
        """Return the time that 99 of 100 answers took at most."""
        return sorted(self.seconds)[int(len(self.seconds) * 0.99)] * 1000


def read_all(connection: socket.socket) -> bytes:
    """Return what the server sends until it closes or resets the connection."""
    received = b""
    try:
        while piece := connection.recv(65_536):
            received += piece
    except ConnectionError:
        pass
    return received
