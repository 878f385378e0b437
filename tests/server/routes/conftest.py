"""Fixtures for streams: the application behind the real HTTP server, and clients that read events."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from server.accounts import service as accounts
from server.application import create_app
from server.generations import settlement
from server.generations.steps import record_step
from server.http.asgi_server import ApiServer
from server.http.event_feed import EventFeed
from server.settings import Settings
from tests.server.routes.streams import PREFIX, Message, messages
from tests.server.stored import provenance_of, stored_image
from tests.server.worker.conftest import heartbeat, images, make_runner  # noqa: F401  # fixtures

QUICK_S = 0.02
STOP_S = 20


@dataclass
class Live:
    """A running server."""

    url: str
    feed: EventFeed
    server: ApiServer
    thread: threading.Thread

    def stop(self) -> None:
        """Ask it to stop as SIGTERM does, and wait."""
        self.server.should_exit = True
        self.thread.join(STOP_S)
        assert not self.thread.is_alive()

    def client(self, account: Any) -> httpx.Client:
        """Return a client of an account's."""
        return httpx.Client(base_url=self.url, headers=account.headers, timeout=30, trust_env=False)

    @contextmanager
    def stream(self, account: Any, path: str, last: object = None) -> Iterator[Iterator[Message]]:
        """Open a stream of an account's; yield its messages as they come, heartbeats too."""
        resume = {} if last is None else {"Last-Event-ID": str(last)}
        with (
            self.client(account) as client,
            client.stream("GET", f"{PREFIX}/{path}", headers=resume) as answer,
        ):
            assert answer.status_code == 200, answer.read()
            assert answer.headers["content-type"].startswith("text/event-stream")
            yield messages(answer.iter_lines())

    def read(self, account: Any, path: str, last: object = None) -> list[Message]:
        """Read a stream to its end, without the heartbeats."""
        with self.stream(account, path, last) as stream:
            return [message for message in stream if message.event]


Serve = Callable[..., Live]


@pytest.fixture
def serve(settings: Settings) -> Iterator[Serve]:
    """Start the application with changed settings behind the real server."""
    with ExitStack() as running:

        def start(**changes: Any) -> Live:
            quick = {"reaper_period_s": 3600.0, "events_poll_s": QUICK_S, "events_heartbeat_s": 0.2}
            changed = settings.changed(**(quick | changes))
            app = create_app(changed)
            listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
            # Small, and so inherited: a client that reads nothing is noticed after some kilobytes.
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 16_384)
            server = ApiServer(app, changed, grace_s=10)
            thread = threading.Thread(target=server.run, args=([listening],))
            live = Live(f"http://127.0.0.1:{listening.getsockname()[1]}", app.state.feed, server, thread)
            thread.start()
            running.callback(live.stop)
            return live

        yield start


@pytest.fixture
def live(serve: Serve) -> Live:
    """The application behind the real server."""
    return serve()


@pytest.fixture
def complete(uow, claim):
    """Claim the next generation, draw some steps and complete it."""

    def end(generation, steps=(3, 9)):
        held = claim()
        for step in steps:
            record_step(uow, held, "step", step, 28)
        return settlement.complete(uow, held, stored_image(), provenance_of(generation), {"step": 2.8})

    return end


@pytest.fixture
def operator(make_account, uow):
    """An operator."""
    account = make_account()
    accounts.set_operator(uow, account.user_id, is_operator=True)
    return account
