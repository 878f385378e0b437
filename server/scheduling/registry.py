"""The worker registry: which workers there are, by the heartbeats that they send to the database."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import delete, func, select

from server.clock import now
from server.db.base import upsert
from server.db.unit_of_work import Repository, UnitOfWork
from server.generations import settlement
from server.scheduling.tables import RegisteredWorker

HEARTBEAT_PERIOD_S: Final = 2.0
STALE: Final = timedelta(seconds=5 * HEARTBEAT_PERIOD_S)
"""A worker without a heartbeat for so long is gone: its machine has failed, or its process hangs."""

NEVER_READY: Final = "A worker ended before it was ready: see its log."


@dataclass(frozen=True)
class Reported:
    """What a worker says of its device. See the table's columns."""

    device: str | None = None
    memory_used_bytes: int | None = None
    memory_total_bytes: int | None = None
    resident: list[str] | None = None


NOTHING: Final = Reported()


class WorkerRegistry(Repository):
    """Reads and changes which workers there are."""

    def record_heartbeat(
        self,
        name: str,
        backend: str,
        *,
        accepts: bool,
        mean_duration_s: float | None = None,
        last_error: str | None = None,
        reported: Reported = NOTHING,
    ) -> None:
        """Record that a worker is there. See the table's columns."""
        insert = upsert(self._session, RegisteredWorker.core())
        values = {
            "backend": backend,
            "accepts": accepts,
            "mean_duration_s": mean_duration_s,
            "last_error": last_error,
            "seen_at": now(),
            **asdict(reported),
        }
        row = insert.values(name=name, **values)
        self._session.execute(row.on_conflict_do_update(index_elements=["name"], set_=values))

    def remove(self, name: str) -> None:
        """Remove a worker that is gone, and with it those that have been silent for long."""
        gone = (RegisteredWorker.name == name) | (RegisteredWorker.seen_at < now() - 100 * STALE)
        self._session.execute(delete(RegisteredWorker).where(gone))

    def all(self) -> Sequence[RegisteredWorker]:
        """Return every worker that is known, by name; one that is gone, too, while it is remembered."""
        return self._session.scalars(select(RegisteredWorker).order_by(RegisteredWorker.name)).all()

    def ready(self, backend: str) -> Sequence[RegisteredWorker]:
        """Return the workers of a backend that are there and take generations."""
        fresh = RegisteredWorker.seen_at > now() - STALE
        return self._session.scalars(
            select(RegisteredWorker).where(
                RegisteredWorker.backend == backend, RegisteredWorker.accepts, fresh
            )
        ).all()

    def none_ready(self) -> bool:
        """Return whether no worker is there that takes generations."""
        fresh = RegisteredWorker.seen_at > now() - STALE
        ready = self._session.scalar(
            select(func.count()).where(RegisteredWorker.accepts, fresh).select_from(RegisteredWorker)
        )
        return not ready

    def of_host(self, host: str) -> Sequence[RegisteredWorker]:
        """Return the workers of a host that are there and take generations."""
        fresh = RegisteredWorker.seen_at > now() - STALE
        there = self._session.scalars(select(RegisteredWorker).where(RegisteredWorker.accepts, fresh))
        # By the whole name: "gpu" is another host than "gpu-2".
        return [worker for worker in there if worker.name.rpartition("-")[0] == host]

    def last_errors(self, backend: str) -> Sequence[str]:
        """Return what an operator has to mend at the workers of a backend that are there."""
        fresh = RegisteredWorker.seen_at > now() - STALE
        found = self._session.scalars(
            select(RegisteredWorker.last_error).where(
                RegisteredWorker.backend == backend, fresh, RegisteredWorker.last_error.is_not(None)
            )
        )
        return sorted({last_error for last_error in found if last_error})

    def why_gone(self, *backends: str) -> str | None:
        """Return why the last worker of some backends that is gone, or takes nothing, does so."""
        return self._session.scalar(
            select(RegisteredWorker.last_error)
            .where(
                RegisteredWorker.backend.in_(backends),
                ~RegisteredWorker.accepts,
                RegisteredWorker.last_error.is_not(None),
            )
            .order_by(RegisteredWorker.seen_at.desc())
            .limit(1)
        )

    def estimated_wait_s(self, backend: str, depth: int) -> float | None:
        """Estimate how long so many generations wait for a backend's workers; None if none is ready."""
        ready = self.ready(backend)
        if not ready:
            return None
        known = [worker.mean_duration_s for worker in ready if worker.mean_duration_s]
        return depth * sum(known) / len(known) / len(ready) if known else 0.0


def is_ready_on(uow: UnitOfWork, host: str) -> bool:
    """Return whether a worker of this host is there and takes generations."""
    with uow.read() as tx:
        return bool(WorkerRegistry(tx).of_host(host))


def retire(uow: UnitOfWork, backend: str, worker: str, was_ready: bool, cause: str | None = None) -> None:
    """Return to the queue what a dead worker held, and remove it from the registry.

    One that was never ready stays there for a while as gone, and so does one of which the watchdog knows why
    no other can draw: so it is seen that none can be started, and why.
    """
    settlement.return_lost(uow, worker)
    with uow.begin() as tx:
        registry = WorkerRegistry(tx)
        registry.remove(worker)
        if cause or not was_ready:
            registry.record_heartbeat(worker, backend, accepts=False, last_error=cause or NEVER_READY)
