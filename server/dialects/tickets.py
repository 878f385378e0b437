"""What a client asks for again by an id: the generations of one request, and how far they are together."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from server.caller import Caller
from server.db.unit_of_work import Transaction
from server.errors import NotFound
from server.generations import service
from server.generations.service import Followed, GenerationEnded
from server.generations.states import Reason, Status, has_ended
from server.generations.tables import Generation
from server.http.services import Services
from server.scheduling.estimates import Progress

SEPARATOR: Final = "."
MAX_IMAGES: Final = 4
"""The images of one request."""
STORED: Final = "png"
KINDS: Final = (STORED, "jpeg", "webp")
"""The formats in which its images may be asked for."""


class Stage(StrEnum):
    """How far a request is."""

    QUEUED = "queued"
    DRAWN = "drawn"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Ticket:
    """The generations of a request. kind: the format of its images. progress: of the first to end."""

    followed: Sequence[Followed]
    kind: str = STORED
    progress: Progress | None = None

    @property
    def id(self) -> str:
        """The id by which the client asks for it."""
        return ticket_id([one.generation.id for one in self.followed], self.kind)

    @property
    def generations(self) -> list[Generation]:
        """The generations, in the order in which they were asked for."""
        return [one.generation for one in self.followed]

    @property
    def first(self) -> Generation:
        """The first generation. All have its prompt, its entry and its size."""
        return self.generations[0]

    @property
    def stage(self) -> Stage:
        """How far the generations are together: failed only if not one was drawn."""
        statuses = {generation.status for generation in self.generations}
        if not all(has_ended(status) for status in statuses):
            return Stage.QUEUED if statuses == {Status.PENDING} else Stage.DRAWN
        if Status.COMPLETED in statuses:
            return Stage.SUCCEEDED
        cancelled = all(generation.error_code == Reason.CANCELLED for generation in self.generations)
        return Stage.CANCELLED if cancelled else Stage.FAILED

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.stage not in {Stage.QUEUED, Stage.DRAWN}

    @property
    def started_at(self) -> datetime | None:
        """When the first generation was claimed."""
        return min((one.started_at for one in self.generations if one.started_at), default=None)

    @property
    def completed_at(self) -> datetime | None:
        """When the last generation ended; None as long as one goes on."""
        ends = (one.completed_at for one in self.generations if one.completed_at)
        return max(ends, default=None) if self.has_ended else None

    @property
    def seconds(self) -> float | None:
        """The seconds from the first claim to the last end; None before that, or if nothing was claimed."""
        if self.started_at is None or self.completed_at is None:
            return None
        return (self.completed_at - self.started_at).total_seconds()

    @property
    def failed(self) -> Generation | None:
        """The first generation that failed."""
        return next((one for one in self.generations if one.error_code), None)


def ticket_id(generation_ids: Sequence[str], kind: str) -> str:
    """Return the id of a request for some generations. It says all of it: nothing is kept for it."""
    return SEPARATOR.join([*generation_ids, *([] if kind == STORED else [kind])])


def find(services: Services, caller: Caller, id_: str) -> Ticket:
    """Return one of the caller's requests.

    Raises:
        NotFound: there is none of this id, or it is another user's, or one of its generations was deleted.

    """
    with services.uow.read() as tx:
        return _found(services, tx, caller, id_)


def cancel(services: Services, caller: Caller, id_: str) -> tuple[Ticket, bool]:
    """Cancel what has not ended of a request; return what it is then, and whether there was anything.

    Raises:
        NotFound: as `find` does.

    """
    ticket, any_cancelled = find(services, caller, id_), False
    for generation in ticket.generations:
        try:
            service.cancel(services.uow, caller, generation.id)
            any_cancelled = True
        except GenerationEnded:
            continue
    return find(services, caller, id_), any_cancelled


def _found(services: Services, tx: Transaction, caller: Caller, id_: str) -> Ticket:
    ids = id_.split(SEPARATOR)
    kind = ids.pop() if ids[-1] in KINDS else STORED
    if not 0 < len(ids) <= MAX_IMAGES or len({*ids}) < len(ids):
        raise NotFound("Request")
    followed = [service.follow(tx, caller, generation_id) for generation_id in ids]
    going_on = next((one.generation for one in followed if not has_ended(one.generation.status)), None)
    return Ticket(followed, kind, services.estimates.progress(tx, going_on) if going_on else None)
