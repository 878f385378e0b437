"""A real server with a worker that draws by a script, and what cuts connections to it."""

import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import select

from inference.scripted import Script
from server.generations.tables import Generation
from tests.server.routes.conftest import Live, live, serve  # noqa: F401  # fixtures
from tests.server.worker.conftest import heartbeat, images, make_runner  # noqa: F401  # fixtures

LOOK_S = 0.02
CERTIFICATE = Path(__file__).parent / "tls" / "localhost.pem"
"""A certificate for 127.0.0.1, with its key, made for these tests. It signs itself."""


@pytest.fixture
def drawing(make_runner) -> Iterator[Callable[..., None]]:  # noqa: F811  # the fixture
    """Let a worker draw what comes, by a script that may be named, until the test is over."""
    stopped, threads = threading.Event(), []

    def start(script: Script | None = None) -> None:
        runner = make_runner(script)

        def run() -> None:
            while not stopped.wait(LOOK_S):
                runner.run_next()

        threads.append(threading.Thread(target=run))
        threads[-1].start()

    yield start
    stopped.set()
    for thread in threads:
        thread.join()


@pytest.fixture
def generations(uow):
    """Read all generations, the oldest first."""

    def read():
        with uow.read() as tx:
            return tx.session.scalars(select(Generation).order_by(Generation.created_at)).all()

    return read


class Cutter:
    """Passes connections on to a server, and cuts them when it is told to.

    swallowing: so many answers are not passed on: their connections are cut instead.
    """

    def __init__(self, port: int, tls: ssl.SSLContext | None = None) -> None:
        self._port = port
        self._tls = tls
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.host = f"127.0.0.1:{self._listening.getsockname()[1]}"
        self.url = f"http://{self.host}"
        self.swallowing = 0
        self.connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut(self) -> None:
        """Cut all connections that there are, in mid-air."""
        self._close(*self.connections)
        self.connections.clear()

    def close(self) -> None:
        """Stop."""
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self.cut()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                if self._tls is not None:
                    client = self._tls.wrap_socket(client, server_side=True)
                server = socket.create_connection(("127.0.0.1", self._port))
                self.connections += [client, server]
                for source, target in ((client, server), (server, client)):
                    answers = source is server
                    threading.Thread(
                        target=self._pass_on, args=(source, target, answers), daemon=True
                    ).start()

    def _pass_on(self, source: socket.socket, target: socket.socket, answers: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65_536):
                if answers and self.swallowing:
                    self.swallowing -= 1
                    self._close(source, target)
                    return
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def _close(self, *connections: socket.socket) -> None:
        for connection in connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


@pytest.fixture
def cutter(live: Live) -> Iterator[Cutter]:  # noqa: F811  # the fixture
    """A way to the server whose connections can be cut."""
    opened = Cutter(int(live.url.rpartition(":")[2]))
    yield opened
    opened.close()


@pytest.fixture
def tls_cutter_of() -> Iterator[Callable[[Live], Cutter]]:
    """Open a way by https to a server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    opened = []

    def open_cutter(to: Live) -> Cutter:
        opened.append(Cutter(int(to.url.rpartition(":")[2]), context))
        return opened[-1]

    yield open_cutter
    for cutter in opened:
        cutter.close()


@pytest.fixture
def tls_cutter(live: Live, tls_cutter_of: Callable[[Live], Cutter]) -> Cutter:  # noqa: F811  # the fixture
    """A way by https to the server whose connections can be cut."""
    return tls_cutter_of(live)
