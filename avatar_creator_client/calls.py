"""The requests, as generators that know nothing of sockets: both clients drive the same ones.

A generator yields what is to be done next, `Send` or `Sleep`, gets an answer or `Unreachable` for a `Send`,
and returns what the caller wants.
"""

import random
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar
from uuid import uuid4

from avatar_creator_client.errors import ApiError, RateLimited, Unavailable, Unreachable, refusal
from avatar_creator_client.records import Generation, Project, Quote
from avatar_creator_client.wish import Wish

PREFIX: Final = "/api/avatar-creator"
ATTEMPTS: Final = 6
"""How often a request is sent at most. Those that change something have a key by which they are known."""
PAUSE_S: Final = 0.5
"""Before the second attempt; then twice as long each time."""
LONGEST_PAUSE_S: Final = 60.0
"""If the server asks for more patience than this, its refusal is raised at once."""


@dataclass(frozen=True)
class Send:
    """Send a request. may_repeat: whether it does no harm to send it again."""

    method: str
    path: str
    json: Mapping[str, Any] | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    may_repeat: bool = True


@dataclass(frozen=True)
class Sleep:
    """Do nothing for a while."""

    seconds: float


@dataclass(frozen=True)
class Answer:
    """The answer to a request. body: decoded if it is JSON. content: its bytes."""

    status: int
    body: Any
    content: bytes
    retry_after: str | None


T = TypeVar("T")
Call = Generator[Send | Sleep, Answer | Unreachable | None, T]
OK: Final = range(200, 300)


def answered(send: Send) -> Call[Answer]:
    """Send a request until it is answered, and return the answer.

    Raises:
        ApiError: the server refuses it, now or after all attempts.
        Unreachable: there was no answer after all attempts.

    """
    for attempt in range(1, ATTEMPTS + 1):
        answer = yield send
        if isinstance(answer, Answer) and answer.status in OK:
            return answer
        error: ApiError | Unreachable
        if isinstance(answer, Answer):
            error = refusal(answer.status, answer.body, answer.retry_after)
        else:
            error = answer or Unreachable("no answer")
        pause_s = _pause_s(error, attempt)
        if not send.may_repeat or attempt == ATTEMPTS or pause_s is None:
            raise error
        yield Sleep(pause_s)
    raise AssertionError  # the last attempt has returned or raised


def projects() -> Call[list[Project]]:
    """Return the newest projects."""
    answer = yield from answered(Send("GET", f"{PREFIX}/projects"))
    return [Project.of(one) for one in answer.body["projects"]]


def create_project(name: str, description: str | None) -> Call[Project]:
    """Create a project. Sent once: it has no key by which a repetition is known."""
    body = {"name": name} if description is None else {"name": name, "description": description}
    answer = yield from answered(Send("POST", f"{PREFIX}/projects", body, may_repeat=False))
    return Project.of(answer.body["project"])


def balance() -> Call[int]:
    """Return the credits that can be spent."""
    answer = yield from answered(Send("GET", "/api/credits/balance"))
    return int(answer.body["data"]["balance"])


def quote(project_id: str, wish: Wish) -> Call[Quote]:
    """Return what a wish would be given. Nothing is held."""
    path = f"{PREFIX}/projects/{project_id}/avatars/generate"
    answer = yield from answered(Send("POST", path, wish.body(), {"dryRun": "true"}))
    return Quote.of(answer.body)


def submit(project_id: str, wish: Wish, idempotency_key: str | None) -> Call[Generation]:
    """Submit a wish, once, however often the request has to be sent."""
    key = {"Idempotency-Key": idempotency_key or str(uuid4())}
    path = f"{PREFIX}/projects/{project_id}/avatars/generate"
    answer = yield from answered(Send("POST", path, wish.body(), headers=key))
    return Generation.of(answer.body["generation"])


def read(generation_id: str, wait_s: int = 0) -> Call[Generation]:
    """Return a generation; with a wait, as soon as it has ended or when the seconds are over."""
    params = {"wait": str(wait_s)} if wait_s else {}
    answer = yield from answered(Send("GET", f"{PREFIX}/generations/{generation_id}", params=params))
    return Generation.of(answer.body["generation"])


def cancel(generation_id: str) -> Call[Generation]:
    """Cancel a generation. Sent once: after a lost answer, `read` says what it has come to."""
    path = f"{PREFIX}/generations/{generation_id}/cancel"
    answer = yield from answered(Send("POST", path, may_repeat=False))
    return Generation.of(answer.body["generation"])


def first_project(name: str) -> Call[Project]:
    """Return the oldest of the newest projects; if there is none, one of this name is created."""
    found = yield from projects()
    return found[-1] if found else (yield from create_project(name, None))


def image(path: str) -> Call[bytes]:
    """Return the bytes of an image."""
    answer = yield from answered(Send("GET", path))
    return answer.content


def _pause_s(error: ApiError | Unreachable, attempt: int) -> float | None:
    """Return how long to wait before the next attempt; None if there is to be none."""
    backoff_s: float = min(LONGEST_PAUSE_S, PAUSE_S * 2 ** (attempt - 1)) * random.uniform(0.75, 1.25)  # noqa: S311
    if isinstance(error, Unreachable):
        return backoff_s
    asked_s = error.retry_after_s
    if asked_s is not None:
        return None if asked_s > LONGEST_PAUSE_S else asked_s
    return backoff_s if isinstance(error, RateLimited | Unavailable) else None
