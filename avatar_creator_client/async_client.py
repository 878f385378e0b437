"""The client for asyncio: the same methods as `Client` has."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import httpx

from avatar_creator_client import calls
from avatar_creator_client.calls import Answer, Call, Send, Sleep
from avatar_creator_client.client import (
    FIRST_PROJECT,
    TIMEOUT_S,
    answer_of,
    arguments,
    id_of,
    ignore,
    image_path,
    request_of,
    unreachable,
)
from avatar_creator_client.errors import Unreachable
from avatar_creator_client.following import Following, delivered
from avatar_creator_client.records import Generation, Progress, Project, Quote
from avatar_creator_client.wish import Wish

T = TypeVar("T")


class AsyncClient:
    """A server, as the owner of a key uses it. See `Client`."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout_s: float = TIMEOUT_S,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Take the server's address and a key. timeout_s: of one request, beside the time that it waits."""
        self._http = httpx.AsyncClient(**arguments(url, key, timeout_s), transport=transport)

    async def projects(self) -> list[Project]:
        """Return the newest projects."""
        return await self._run(calls.projects())

    async def create_project(self, name: str, description: str | None = None) -> Project:
        """Create a project."""
        return await self._run(calls.create_project(name, description))

    async def first_project(self) -> Project:
        """Return the oldest project, created if there is none."""
        return await self._run(calls.first_project(FIRST_PROJECT))

    async def balance(self) -> int:
        """Return the credits that can be spent."""
        return await self._run(calls.balance())

    async def quote(self, project: Project | str, wish: Wish) -> Quote:
        """Return what a wish would be given, and its price. Nothing is held."""
        return await self._run(calls.quote(id_of(project), wish))

    async def submit(
        self, project: Project | str, wish: Wish, *, idempotency_key: str | None = None
    ) -> Generation:
        """Submit a wish: its price is held until it is drawn. idempotency_key: by default a new one."""
        return await self._run(calls.submit(id_of(project), wish, idempotency_key))

    async def read(self, generation: Generation | str) -> Generation:
        """Return a generation as it is now."""
        return await self._run(calls.read(id_of(generation)))

    async def wait(
        self,
        generation: Generation | str,
        *,
        timeout_s: float | None = None,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> Generation:
        """Wait until a generation is drawn; by its events, and by polling where there is no stream.

        Raises:
            GenerationFailed: it was not drawn; its price was given back.
            WaitedTooLong: the time is over. It goes on.

        """
        following = Following(id_of(generation), timeout_s)
        tell = on_progress or ignore
        while True:
            async for progress in self._events(following):
                tell(progress)
            wait_s = following.poll_s
            found = await self._run(calls.read(following.generation_id, wait_s))
            if found.has_ended:
                return delivered(found)
            if found.progress is not None:
                tell(found.progress)

    async def cancel(self, generation: Generation | str) -> Generation:
        """Cancel a generation that has not ended; its price is given back.

        Raises:
            Conflict: it has ended.

        """
        return await self._run(calls.cancel(id_of(generation)))

    async def image(self, generation: Generation) -> bytes:
        """Return the PNG of a generation that was drawn.

        Raises:
            NotFound: it has none.

        """
        return await self._run(calls.image(image_path(generation)))

    async def save(self, generation: Generation, path: Path | str) -> Path:
        """Write the PNG of a generation to a file, and return its path."""
        written = Path(path)
        content = await self.image(generation)
        await asyncio.to_thread(written.write_bytes, content)
        return written

    async def aclose(self) -> None:
        """Close all connections."""
        await self._http.aclose()

    async def __aenter__(self) -> Self:
        """Return the client."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close all connections."""
        await self.aclose()

    async def _events(self, following: Following) -> AsyncIterator[Progress]:
        """Yield what the stream tells, until its end, or until it breaks."""
        try:
            async with self._http.stream(**following.stream()) as stream:
                if stream.status_code != httpx.codes.OK:
                    return
                async for line in stream.aiter_lines():
                    progress = following.feed(line)
                    if progress is not None:
                        yield progress
                    if following.ended or not following.left_s:
                        return
        except httpx.TransportError:
            return

    async def _run(self, call: Call[T]) -> T:
        """Do what a call wants, step by step, and return what it returns."""
        try:
            step = next(call)
            while True:
                if isinstance(step, Sleep):
                    await asyncio.sleep(step.seconds)
                    step = call.send(None)
                else:
                    step = call.send(await self._send(step))
        except StopIteration as end:
            found: T = end.value
            return found

    async def _send(self, send: Send) -> Answer | Unreachable:
        try:
            return answer_of(await self._http.request(**request_of(send)))
        except httpx.TransportError as error:
            return unreachable(error)
