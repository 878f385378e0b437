"""What a dialect's request asks for, and having it accepted: once, however often its client sends it."""

import hashlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from catalog.prompts import fold
from catalog.selection import Wish
from server.accounts.repository import Users
from server.caller import Caller
from server.errors import DatabaseAway
from server.generations.submission import GenerationRequest, accept
from server.http.services import Services
from server.idempotency.repetitions import RepeatableRequests
from server.idempotency.tables import RepeatableRequest
from server.projects import service as projects
from server.routes.generations import limits_of

MAX_NAME_CHARS: Final = 100

Find = Callable[[RepeatableRequests, str, str], RepeatableRequest | None]
"""Finds what a repetition takes up, by the user's id and the digest of what is asked for."""


@dataclass(frozen=True)
class Asked:
    """What a client asks for: some images of one prompt. seed: of the first; None draws each.

    dialect: in which it asks. Requests in two are never equal.
    """

    dialect: str
    prompt: str
    wish: Wish
    seed: int | None = None
    images: int = 1

    def requests(self, project_id: str) -> list[GenerationRequest]:
        """Return what the use case takes, one for each image."""
        return [
            GenerationRequest(
                project_id=project_id,
                name=fold(self.prompt[:MAX_NAME_CHARS]),
                prompt=self.prompt,
                wish=self.wish,
                seed=None if self.seed is None else (self.seed + number) % 2**32,
            )
            for number in range(self.images)
        ]

    @property
    def digest(self) -> str:
        """Equal for equal requests."""
        return hashlib.sha256(repr(self).encode()).hexdigest()


@dataclass(frozen=True)
class Accepted:
    """What was accepted for a request. record_id: of what its repetition finds."""

    record_id: str
    generation_ids: list[str]


def take_up(services: Services, caller: Caller, asked: Asked, find: Find) -> Accepted | None:
    """Return what was accepted when the client sent its request before; None if nothing was."""
    with services.uow.begin() as tx:
        Users(tx).lock(caller.user_id)  # of two repetitions at once, each takes up another request
        record = find(RepeatableRequests(tx), caller.user_id, asked.digest)
        return None if record is None else Accepted(record.id, record.generation_ids)


def accept_all(services: Services, caller: Caller, asked: Asked, record_id: str) -> Accepted:
    """Accept all images of a request, or none of them.

    Raises:
        DomainError: see `accept`.

    """
    limits = limits_of(services.settings)
    project_id = projects.first(services.uow, caller).id
    with services.uow.begin() as tx:
        ids = [accept(tx, caller, request, limits).generation.id for request in asked.requests(project_id)]
        RepeatableRequests(tx).keep(record_id, caller.user_id, asked.digest, ids)
    for generation_id in ids:
        services.wakeups.note(generation_id)
    return Accepted(record_id, ids)


def note_answered(services: Services, record_ids: Iterable[str]) -> None:
    """Note that the answers to some requests were sent, or read: a later one that is equal is another one.

    If that cannot be noted, a repetition gets the answer again, for an hour.
    """
    with suppress(DatabaseAway), services.uow.begin() as tx:
        RepeatableRequests(tx).answered(record_ids)
