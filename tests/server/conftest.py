"""Fixtures for tests through the API: the real application on a real database and a real Redis."""

import io
import json
import logging
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import pytest
import structlog
from litestar import Litestar
from litestar.testing import TestClient
from litestar.types import ASGIApp, Message, Receive, Scope, Send
from redis import Redis
from sqlalchemy import func, select

from scripts.openapi import FILE
from server.application import create_app
from server.credits.tables import Account
from server.db.unit_of_work import UnitOfWork
from server.generations.tables import Generation
from server.http.errors import BUG
from server.logs import configure_logs
from server.scheduling.claim_policy import LOCAL
from server.scheduling.registry import WorkerRegistry
from server.scheduling.wakeups import WakeUps
from server.settings import Settings

PREFIX = "/api/avatar-creator"
WISH = {"name": "Ada", "prompt": "portrait of a woman with long red hair"}
SENT_S = 10  # a thread of the application sends wake-ups
TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@dataclass
class Api:
    """A client of the application, with direct access to its database and its wake-ups."""

    client: TestClient[Litestar]
    uow: UnitOfWork
    wakeups: WakeUps

    def generate(self, account: Any, prefix: str = PREFIX, **changes: Any) -> Any:
        """Request an avatar in the account's project; a field that is changed to None is left out."""
        body = {name: value for name, value in (WISH | changes).items() if value is not None}
        path = f"{prefix}/projects/{account.project_id}/avatars/generate"
        return self.client.post(path, json=body, headers=account.headers)

    def post_body(self, account: Any, body: Any, **headers: str) -> Any:
        """Send a body unchanged to the route that generates."""
        path = f"{PREFIX}/projects/{account.project_id}/avatars/generate"
        return self.client.post(path, content=body, headers=account.headers | headers)

    def woken(self, expected: int) -> int:
        """Return how many wake-ups wait, after time enough for the expected number to be sent."""
        deadline = time.monotonic() + SENT_S
        while self.wakeups.waiting() != expected and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.wakeups.waiting() or 0

    def balance(self, account: Any) -> int:
        """Return the balance from GET /api/credits/balance."""
        answer = self.client.get("/api/credits/balance", headers=account.headers)
        assert answer.status_code == 200
        balance: int = answer.json()["data"]["balance"]
        return balance

    def account(self, account: Any) -> tuple[int, int]:
        """Return the available and the held credits in the database."""
        with self.uow.read() as tx:
            row = tx.session.get(Account, account.user_id)
            return row.available, row.held

    def generations(self) -> int:
        """Return how many generations there are in any status."""
        with self.uow.read() as tx:
            return tx.session.scalar(select(func.count()).select_from(Generation))

    def nothing_happened(self, account: Any, balance: int = 100) -> None:
        """Check that there is no generation, no wake-up in Redis, and no credit held or spent."""
        assert self.generations() == 0
        assert self.wakeups.waiting() == 0
        assert self.account(account) == (balance, 0)

    @staticmethod
    def refused(answer: Any, status: int, code: str, field: str | None = None) -> dict[str, Any]:
        """Check an error against the contract's shape and return its inner part."""
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"].startswith("application/json")
        body = answer.json()
        assert answer.headers["cache-control"] == "no-store"
        assert body.keys() == {"success", "message", "error", "timestamp", "requestId"}
        assert body["success"] is False
        assert TIMESTAMP.fullmatch(body["timestamp"])
        assert body["requestId"] == answer.headers["x-request-id"]
        error: dict[str, Any] = body["error"]
        assert (error["code"], error["statusCode"]) == (code, status)
        assert error["message"]
        assert body["message"] == error["message"]
        assert error.get("field") == field
        if field is None:
            assert "details" not in error
        else:
            assert field in error["details"]
            assert all(message for messages in error["details"].values() for message in messages)
        if "retryAfter" in error:
            assert error["retryable"] is True
            assert answer.headers["retry-after"] == str(error["retryAfter"])
        return error


@pytest.fixture(autouse=True)
def silent_logs() -> None:
    """Print no log lines: a server's thread would write to standard output while pytest replaces it."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())


@cache
def declared_statuses() -> dict[tuple[str, str], set[int]]:
    """Return the statuses that the OpenAPI document declares for each method and path."""
    return {
        (method.upper(), path): {int(status) for status in operation["responses"]}
        for path, item in json.loads(FILE.read_text("utf-8"))["paths"].items()
        for method, operation in item.items()
    }


def recording_undeclared(app: ASGIApp, undeclared: set[tuple[str, str, int]]) -> ASGIApp:
    """Wrap an application; keep each answer of a route that the OpenAPI document does not declare."""

    async def wrapper(scope: Scope, receive: Receive, send: Send) -> None:
        async def record(message: Message) -> None:
            if message["type"] == "http.response.start":
                # What `refuse_malformed_targets` refuses is no answer of the route that Litestar found.
                known = "%" not in scope["raw_path"].decode("latin-1")
                route = scope["method"], scope.get("path_template", "") if known else ""
                declared = declared_statuses().get(route)
                if declared is not None and message["status"] not in declared | {BUG.status}:
                    undeclared.add((*route, message["status"]))
            await send(message)

        await app(scope, receive, record if scope["type"] == "http" else send)

    return wrapper


OpenApi = Callable[..., Any]


@pytest.fixture
def open_api(settings: Settings, uow: UnitOfWork) -> OpenApi:
    """Open the application with changed settings."""

    @contextmanager
    def opened(**changes: Any) -> Iterator[Api]:
        # The reaper and the rate limits have their own tests; here they change no count and refuse nothing.
        own = settings.changed(**({"reaper_period_s": 3600.0, "rate_limits": "off"} | changes))
        app = create_app(own)
        undeclared: set[tuple[str, str, int]] = set()
        app.asgi_handler = recording_undeclared(app.asgi_handler, undeclared)
        with TestClient(app, raise_server_exceptions=False) as client:
            yield Api(client, uow, WakeUps(own))
        assert undeclared == set(), "docs/openapi.json does not declare these answers"

    return opened


@pytest.fixture
def api(open_api: OpenApi) -> Iterator[Api]:
    """The application."""
    with open_api() as opened:
        yield opened


@pytest.fixture
def own_redis(redis_url: str) -> Iterator[Redis]:
    """A client of the Redis that the application sends wake-ups to."""
    with Redis.from_url(redis_url) as client:
        yield client


LogLines = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def log_lines() -> Iterator[LogLines]:
    """Everything that is logged from here on at DEBUG, as the parsed JSON lines."""
    stream = io.StringIO()
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    configure_logs("test", "debug", stream=stream)
    root.setLevel(logging.DEBUG)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


@pytest.fixture
def worker_ready(uow: UnitOfWork) -> Callable[[], None]:
    """Let a local worker be there and take generations, for ten seconds."""

    def record() -> None:
        with uow.begin() as tx:
            WorkerRegistry(tx).record_heartbeat("gpu-one", LOCAL, accepts=True)

    return record
