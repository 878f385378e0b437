"""The client."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import httpx

from avatar_creator_client import calls
from avatar_creator_client.calls import Answer, Call, Send, Sleep
from avatar_creator_client.errors import NotFound, Unreachable
from avatar_creator_client.following import Following, delivered
from avatar_creator_client.records import Generation, Progress, Project, Quote
from avatar_creator_client.wish import Wish

T = TypeVar("T")
TIMEOUT_S: Final = 30.0
FIRST_PROJECT: Final = "My avatars"


class Client:
    """A server, as the owner of a key uses it. It may be used by several threads.

    Requests are repeated where that does no harm: up to six times, after what `Retry-After` asks for or a
    growing pause. What is submitted has an idempotency key, so that it is accepted and charged once.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout_s: float = TIMEOUT_S,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """Take the server's address and a key. timeout_s: of one request, beside the time that it waits."""
        self._http = httpx.Client(**arguments(url, key, timeout_s), transport=transport)

    def projects(self) -> list[Project]:
        """Return the newest projects."""
        return self._run(calls.projects())

    def create_project(self, name: str, description: str | None = None) -> Project:
        """Create a project."""
        return self._run(calls.create_project(name, description))

    def first_project(self) -> Project:
        """Return the oldest project, created if there is none."""
        return self._run(calls.first_project(FIRST_PROJECT))

    def balance(self) -> int:
        """Return the credits that can be spent."""
        return self._run(calls.balance())

    def quote(self, project: Project | str, wish: Wish) -> Quote:
        """Return what a wish would be given, and its price. Nothing is held."""
        return self._run(calls.quote(id_of(project), wish))

    def submit(self, project: Project | str, wish: Wish, *, idempotency_key: str | None = None) -> Generation:
        """Submit a wish: its price is held until it is drawn. idempotency_key: by default a new one."""
        return self._run(calls.submit(id_of(project), wish, idempotency_key))

    def read(self, generation: Generation | str) -> Generation:
        """Return a generation as it is now."""
        return self._run(calls.read(id_of(generation)))

    def wait(
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
            for progress in self._events(following):
                tell(progress)
            wait_s = following.poll_s
            found = self._run(calls.read(following.generation_id, wait_s))
            if found.has_ended:
                return delivered(found)
            if found.progress is not None:
                tell(found.progress)

    def cancel(self, generation: Generation | str) -> Generation:
        """Cancel a generation that has not ended; its price is given back.

        Raises:
            Conflict: it has ended.

        """
        return self._run(calls.cancel(id_of(generation)))

    def image(self, generation: Generation) -> bytes:
        """Return the PNG of a generation that was drawn.

        Raises:
            NotFound: it has none.

        """
        return self._run(calls.image(image_path(generation)))

    def save(self, generation: Generation, path: Path | str) -> Path:
        """Write the PNG of a generation to a file, and return its path."""
        written = Path(path)
        written.write_bytes(self.image(generation))
        return written

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def __enter__(self) -> Self:
        """Return the client."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close all connections."""
        self.close()

    def _events(self, following: Following) -> Iterator[Progress]:
        """Yield what the stream tells, until its end, or until it breaks."""
        try:
            with self._http.stream(**following.stream()) as stream:
                if stream.status_code != httpx.codes.OK:
                    return
                for line in stream.iter_lines():
                    progress = following.feed(line)
                    if progress is not None:
                        yield progress
                    if following.ended or not following.left_s:
                        return
        except httpx.TransportError:
            return

    def _run(self, call: Call[T]) -> T:
        """Do what a call wants, step by step, and return what it returns."""
        try:
            step = next(call)
            while True:
                if isinstance(step, Sleep):
                    time.sleep(step.seconds)
                    step = call.send(None)
                else:
                    step = call.send(self._send(step))
        except StopIteration as end:
            found: T = end.value
            return found

    def _send(self, send: Send) -> Answer | Unreachable:
        try:
            return answer_of(self._http.request(**request_of(send)))
        except httpx.TransportError as error:
            return unreachable(error)


def arguments(url: str, key: str, timeout_s: float) -> dict[str, Any]:
    """Return what both kinds of clients are opened with."""
    return {
        "base_url": url.rstrip("/"),
        "headers": {"Authorization": f"Bearer {key}"},
        "timeout": timeout_s,
    }


def request_of(send: Send) -> dict[str, Any]:
    """Return a request as httpx takes it. One that waits has that much longer."""
    wait_s = float(send.params.get("wait", 0))
    request: dict[str, Any] = {
        "method": send.method,
        "url": send.path,
        "params": send.params,
        "headers": send.headers,
        "json": send.json,
    }
    return request | ({"timeout": TIMEOUT_S + wait_s} if wait_s else {})


def answer_of(answer: httpx.Response) -> Answer:
    """Return an answer as calls take it."""
    is_json = answer.headers.get("content-type", "").startswith("application/json")
    try:
        body = answer.json() if is_json else None
    except ValueError:
        body = None
    return Answer(answer.status_code, body, answer.content, answer.headers.get("retry-after"))


def unreachable(error: httpx.TransportError) -> Unreachable:
    """Return why there was no answer."""
    return Unreachable(f"{type(error).__name__}: {error}".removesuffix(": "))


def id_of(one: Project | Generation | str) -> str:
    """Return the id of what was named by itself or by its id."""
    return one if isinstance(one, str) else one.id


def image_path(generation: Generation) -> str:
    """Return the path of a generation's image.

    Raises:
        NotFound: it has none.

    """
    if generation.image_path is None:
        raise NotFound(404, "RESOURCE_NOT_FOUND", f"The generation {generation.id} has no image")
    return generation.image_path


def ignore(_progress: Progress) -> None:
    """Tell nobody."""
