"""A real server with a worker that draws by a script, and what cuts connections to it."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest
from sqlalchemy import select

from inference.scripted import Script
from server.generations.tables import Generation
from tests.server.routes.conftest import Live, live, serve  # noqa: F401  # fixtures
from tests.server.worker.conftest import heartbeat, images, make_runner  # noqa: F401  # fixtures

LOOK_S = 0.02


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
    """Passes connections on to a server, and cuts the first ones when it is told to."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self.connections: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut(self) -> None:
        """Cut all connections that there are, in mid-air."""
        for connection in self.connections:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()
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
                server = socket.create_connection(("127.0.0.1", self._port))
                self.connections += [client, server]
                for source, target in ((client, server), (server, client)):
                    threading.Thread(target=_pass_on, args=(source, target), daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65_536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)


@pytest.fixture
def cutter(live: Live) -> Iterator[Cutter]:  # noqa: F811  # the fixture
    """A way to the server whose connections can be cut."""
    opened = Cutter(int(live.url.rpartition(":")[2]))
    yield opened
    opened.close()
