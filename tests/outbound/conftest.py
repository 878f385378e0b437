"""A server that answers as a test tells it, and clients to it."""

import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx2
import pytest

from outbound.addresses import AddressPolicy
from outbound.transport import Bounds, OutboundTransport, open_client

CERTIFICATE = Path(__file__).parent / "tls" / "right.example.pem"
"""A certificate for right.example alone, with its key, made for these tests. It signs itself."""


@dataclass
class Site:
    """A server on loopback: what it answers by path, and what it was asked."""

    port: int = 0
    answers: dict[str, Callable[["Visit"], None]] = field(default_factory=dict)
    visits: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def paths(self) -> list[str]:
        """The paths that were asked for, in order."""
        return [path for path, _ in self.visits]

    def at(self, path: str, host: str = "127.0.0.1", scheme: str = "http") -> str:
        """Return the URL of a path, by any name of this server."""
        return f"{scheme}://{host}:{self.port}{path}"


class Visit(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        """Answer as the site says, else with a few bytes."""
        self.site.visits.append((self.path, {name.lower(): text for name, text in self.headers.items()}))
        self.site.answers.get(self.path, lambda visit: visit.reply(b"hello"))(self)

    def reply(self, body: bytes, status: int = 200, **headers: str) -> None:
        """Send a response."""
        self.send_response(status)
        for name, text in ({"Content_Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


@contextmanager
def _open_site(context: ssl.SSLContext | None) -> Iterator[Site]:
    site = Site()
    handler = type("Handler", (Visit,), {"site": site})
    # On all addresses of loopback: 127.0.0.1, which the clients may reach, is 127.0.0.2, which they may not.
    with _QuietServer(("0.0.0.0", 0), handler) as server:  # noqa: S104
        server.daemon_threads = True
        if context is not None:
            server.socket = context.wrap_socket(
                server.socket, server_side=True, do_handshake_on_connect=False
            )
        site.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield site
        finally:
            site.closing.set()
            server.shutdown()
            thread.join()


class _QuietServer(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """Print nothing where a client hangs up, as these do."""


@pytest.fixture
def site() -> Iterator[Site]:
    with _open_site(None) as opened:
        yield opened


@pytest.fixture
def tls_site() -> Iterator[Site]:
    """A server with a certificate for right.example."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(CERTIFICATE)
    with _open_site(context) as opened:
        yield opened


@pytest.fixture
def make_client() -> Iterator[Callable[..., httpx2.Client]]:
    """Make clients that may reach 127.0.0.1 and nothing else that is local; keywords are their bounds."""
    clients: list[httpx2.Client] = []

    def make(
        networks: tuple[str, ...] = ("127.0.0.1",), proxy_url: str | None = None, **bounds: float
    ) -> httpx2.Client:
        transport = OutboundTransport(
            AddressPolicy.of(networks),
            Bounds(**bounds),
            proxy_url=proxy_url,
            ssl_context=ssl.create_default_context(cafile=CERTIFICATE),
        )
        clients.append(open_client(transport))
        return clients[-1]

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[list[str]]]:
    """The addresses of names, one list for each look-up; the last one stays."""
    known: dict[str, list[list[str]]] = {}

    def look_up(host: str, port: int) -> list[str]:
        answers = known.get(host, [[host]])
        return answers.pop(0) if len(answers) > 1 else answers[0]

    monkeypatch.setattr("outbound.connecting.look_up", look_up)
    return known
