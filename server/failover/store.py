"""The workers that there are, by what they themselves tell every few seconds."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from server.clock import now
from server.db.tables import Worker
from server.db.upsert import upsert

TELL_PERIOD_S: Final = 2.0
STALE: Final = timedelta(seconds=5 * TELL_PERIOD_S)
"""Who has not told for so long is gone: its machine has failed, or its process hangs."""


class Workers:
    """Reads and changes who is there, inside the caller's transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def tell(
        self,
        name: str,
        backend: str,
        *,
        accepts: bool,
        seconds_each: float | None = None,
        trouble: str | None = None,
    ) -> None:
        """Note that a worker is there. See the table's columns."""
        insert = upsert(self._session, Worker.core())
        values = {
            "backend": backend,
            "accepts": accepts,
            "seconds_each": seconds_each,
            "trouble": trouble,
            "seen_at": now(),
        }
        row = insert.values(name=name, **values)
        self._session.execute(row.on_conflict_do_update(index_elements=["name"], set_=values))

    def forget(self, name: str) -> None:
        """Note that a worker is gone, and with it those of which nothing was heard for long."""
        gone = (Worker.name == name) | (Worker.seen_at < now() - 100 * STALE)
        self._session.execute(delete(Worker).where(gone))

    def ready(self, backend: str) -> Sequence[Worker]:
        """Return the workers of a backend that are there and take generations."""
        fresh = Worker.seen_at > now() - STALE
        return self._session.scalars(
            select(Worker).where(Worker.backend == backend, Worker.accepts, fresh)
        ).all()

    def of_host(self, host: str) -> Sequence[Worker]:
        """Return the workers of a host that are there and take generations."""
        fresh = Worker.seen_at > now() - STALE
        there = self._session.scalars(select(Worker).where(Worker.accepts, fresh))
        # By the whole name: "gpu" is another host than "gpu-2".
        return [worker for worker in there if worker.name.rpartition("-")[0] == host]

    def troubles(self, backend: str) -> Sequence[str]:
        """Return what an operator has to mend at the workers of a backend that are there."""
        fresh = Worker.seen_at > now() - STALE
        found = self._session.scalars(
            select(Worker.trouble).where(Worker.backend == backend, fresh, Worker.trouble.is_not(None))
        )
        return sorted({trouble for trouble in found if trouble})

    def wait_s(self, backend: str, depth: int) -> float | None:
        """Estimate how long so many generations wait for a backend's workers; None if none is ready."""
        ready = self.ready(backend)
        if not ready:
            return None
        known = [worker.seconds_each for worker in ready if worker.seconds_each]
        return depth * sum(known) / len(known) / len(ready) if known else 0.0
