"""Small pictures of generations that are being drawn. See ADR 40."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import delete, select, update

from catalog.orders import Order
from server.caller import Caller
from server.clock import now
from server.db.base import upsert
from server.db.unit_of_work import Repository, UnitOfWork
from server.errors import NotFound
from server.generations.repository import Generations
from server.generations.states import Status
from server.generations.tables import Preview

WANTED: Final = timedelta(seconds=20)
"""How long a worker goes on making pictures after somebody has looked."""
KEPT: Final = timedelta(minutes=5)

_PREVIEWS: Final = Preview.core()


@dataclass(frozen=True)
class Picture:
    """A preview, the step that it shows, and what is drawn. image: a JPEG."""

    step: int
    image: bytes
    order: Order


class Previews(Repository):
    """Reads and changes what is wanted, and what was made."""

    def want(self, generation_id: str) -> None:
        """Ask for pictures for a while."""
        insert = upsert(self._session, _PREVIEWS)
        until = now() + WANTED
        row = insert.values(generation_id=generation_id, wanted_until=until, step=0)
        self._session.execute(
            row.on_conflict_do_update(index_elements=["generation_id"], set_={"wanted_until": until})
        )

    def is_wanted(self, generation_id: str) -> bool:
        """Return whether somebody looks."""
        wanted = select(_PREVIEWS.c.step).where(
            _PREVIEWS.c.generation_id == generation_id, _PREVIEWS.c.wanted_until > now()
        )
        return self._session.connection().scalar(wanted) is not None

    def keep(self, generation_id: str, step: int, image: bytes) -> None:
        """Keep a picture in place of the one before."""
        self._session.execute(
            update(_PREVIEWS).where(_PREVIEWS.c.generation_id == generation_id).values(step=step, image=image)
        )

    def find(self, generation_id: str) -> Preview | None:
        """Return what is wanted and was made of a generation; None if nobody has looked."""
        return self._session.get(Preview, generation_id)

    def forget(self) -> int:
        """Delete what nobody has looked at for long; return how many these were."""
        forgotten = delete(Preview).where(Preview.wanted_until < now() - KEPT)
        return len(self._session.scalars(forgotten.returning(Preview.generation_id)).all())


def look(uow: UnitOfWork, caller: Caller, generation_id: str) -> Picture | None:
    """Return the newest picture of one of the caller's generations, and have the next ones made.

    None: there is none yet.

    Raises:
        NotFound: there is no such generation, it is another user's, or it has ended.

    """
    with uow.read() as tx:
        generation = Generations(tx).owned_by(caller.user_id, generation_id)
        found = Previews(tx).find(generation_id)
    if generation.status not in (Status.PENDING, Status.PROCESSING):
        raise NotFound("Preview")
    if found is None or found.wanted_until < now() + WANTED / 2:
        with uow.begin() as tx:
            Previews(tx).want(generation_id)
    if found is None or found.image is None:
        return None
    return Picture(found.step, found.image, generation.order)
