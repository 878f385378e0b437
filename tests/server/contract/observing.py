"""What a request shows: its answer, its time, and what the application asks the database for it."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, Final

import httpx
from sqlalchemy import Engine, event, select

from server.db.base import Table, load_tables
from server.db.unit_of_work import UnitOfWork

LIMIT_S: Final = 10  # a stream that should have been refused has no end
WARM_UP: Final = 10  # statements are compiled, then prepared

_asked: ContextVar[list[str] | None] = ContextVar("_asked", default=None)


class Direct:
    """Sends requests from within the application's own event loop: no client's thread lies between."""

    def __init__(self, client: Any) -> None:
        self._portal = client.blocking_portal
        self._transport = httpx.ASGITransport(client.app, raise_app_exceptions=False)

    def send(self, request: httpx.Request) -> httpx.Response:
        """Return the whole answer to a request.

        Raises:
            TimeoutError: it has no end.

        """
        return self._portal.call(self._send, request)

    def times(self, one: httpx.Request, other: httpx.Request, pairs: int) -> tuple[list[float], list[float]]:
        """Return the seconds that two requests take, so often each.

        They take turns, each as often before the other as behind it: what slows the machine slows both.
        """
        return self._portal.call(self._times, (one, other), pairs)

    def asked(self, request: httpx.Request) -> list[str]:
        """Return the statements that a request sends to the database, and the records that it loads."""

        async def ask() -> list[str]:
            _asked.set(statements := [])
            await self._send(request)
            return statements

        with _recording():
            return self._portal.call(ask)

    async def _send(self, request: httpx.Request) -> httpx.Response:
        async with asyncio.timeout(LIMIT_S):
            answer = await self._transport.handle_async_request(request)
            await answer.aread()
        return answer

    async def _times(
        self, requests: tuple[httpx.Request, httpx.Request], pairs: int
    ) -> tuple[list[float], list[float]]:
        for request in requests * WARM_UP:
            await self._transport.handle_async_request(request)
        times_s: tuple[list[float], list[float]] = ([], [])
        for turn in range(pairs):
            for which in (turn % 2, 1 - turn % 2):
                started = time.perf_counter()
                await self._transport.handle_async_request(requests[which])
                times_s[which].append(time.perf_counter() - started)
        return times_s


@contextmanager
def _recording() -> Iterator[None]:
    """Record what requests ask, and not what the application's own threads do."""

    def on_statement(_connection: Any, _cursor: Any, statement: str, *_rest: Any) -> None:
        if (asked := _asked.get()) is not None:
            asked.append(statement)

    def on_load(record: Any, _context: Any) -> None:
        if (asked := _asked.get()) is not None:
            asked.append(f"loaded {type(record).__name__}")

    event.listen(Engine, "before_cursor_execute", on_statement)
    event.listen(Table, "load", on_load, propagate=True)
    try:
        yield
    finally:
        event.remove(Engine, "before_cursor_execute", on_statement)
        event.remove(Table, "load", on_load)


def told(answer: httpx.Response) -> tuple[int, list[tuple[str, str]], dict[str, Any]]:
    """Return everything that an answer tells but its time. The requests have one id, so it is equal."""
    body = answer.json()
    body.pop("timestamp", None)
    return answer.status_code, answer.headers.multi_items(), body


def everything(uow: UnitOfWork, images_dir: Path) -> dict[str, list[str]]:
    """Return every row of the database and every file of the image store.

    A request may leave only the time when its key was last used, and the leader locks are the reaper's.
    """
    found = {"files": sorted(str(path) for path in images_dir.rglob("*") if path.is_file())}
    with uow.read() as tx:
        for table in load_tables().sorted_tables:
            if table.name != "leader_locks":
                columns = [one for one in table.c if str(one) != "api_keys.last_used_at"]
                found[table.name] = sorted(map(repr, tx.session.execute(select(*columns))))
    return found
