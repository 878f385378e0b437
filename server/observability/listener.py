"""The port of the metrics: its own, so that scrapes take neither threads nor connections of clients."""

import socket
import socketserver
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from server.logs import get_log

log = get_log(__name__)

PATH: Final = "/metrics"
TEXT_FORMAT: Final = "text/plain; version=0.0.4; charset=utf-8"  # Source: Prometheus, exposition formats
CLIENT_TIMEOUT_S: Final = 5.0  # for a request to come and its answer to be taken
LOOK_S: Final = 0.2
WAITING: Final = 16  # scrapes that wait for their turn


class MetricsListener:
    """Answers GET /metrics, one scrape at a time, in one thread; the next ones wait."""

    def __init__(self, host: str, port: int, exposition: Callable[[], bytes]) -> None:
        self._address = host, port
        self._exposition = exposition
        self.port: int | None = None
        """What it listens on; None while it does not."""

    def run(self, stopped: threading.Event) -> None:
        """Answer until stopped.

        Raises:
            OSError: the port cannot be taken. Where processes share a port, the next one takes it over.

        """
        with _Server(self._address, _Handler) as server:
            server.set_app(self._answer)
            server.timeout = LOOK_S
            self.port = server.server_port
            log.info("metrics.listening", host=self._address[0], port=self.port)
            try:
                while not stopped.is_set():
                    server.handle_request()
            finally:
                self.port = None

    def _answer(self, environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] != PATH:
            return _plain(start_response, HTTPStatus.NOT_FOUND)
        if environ["REQUEST_METHOD"] not in ("GET", "HEAD"):
            return _plain(start_response, HTTPStatus.METHOD_NOT_ALLOWED)
        began = time.perf_counter()
        try:
            text = self._exposition()
        except Exception:
            log.exception("metrics.failed")
            return _plain(start_response, HTTPStatus.INTERNAL_SERVER_ERROR)
        log.debug("metrics.scraped", seconds=round(time.perf_counter() - began, 4))
        return _plain(start_response, HTTPStatus.OK, text)


class _Server(WSGIServer):
    request_queue_size = WAITING

    def server_bind(self) -> None:
        """Bind without asking a name server for the host's name."""
        socketserver.TCPServer.server_bind(self)
        self.server_name = str(self.server_address[0])
        self.server_port = self.server_address[1]
        self.setup_environ()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Log that a client went away, or was too slow."""
        del request, client_address
        log.debug("metrics.not_answered", cause=type(sys.exception()).__name__)


class _Handler(WSGIRequestHandler):
    def setup(self) -> None:
        """Give the whole request a time: a socket's own timeout begins again with each byte."""
        super().setup()
        self._deadline = threading.Timer(CLIENT_TIMEOUT_S, self._hang_up)
        self._deadline.daemon = True
        self._deadline.start()

    def finish(self) -> None:
        """End the deadline with the request."""
        self._deadline.cancel()
        super().finish()

    def _hang_up(self) -> None:
        with suppress(OSError):  # the client has gone
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # as the base calls it
        """Write nothing to standard error: `_answer` logs."""


def _plain(start_response: Any, status: HTTPStatus, text: bytes = b"") -> Iterable[bytes]:
    start_response(f"{status.value} {status.phrase}", [("Content-Type", TEXT_FORMAT)])
    return [text]
