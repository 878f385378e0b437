"""Leader lock of a periodic task: one process at a time does it."""

from datetime import timedelta

from sqlalchemy import select, update

from server.clock import now
from server.db.unit_of_work import Repository, UnitOfWork
from server.scheduling.tables import LeaderLock


class LeaderLocks(Repository):
    """Reads and takes leader locks. A row for each task is made by the migrations."""

    def is_free(self, task: str) -> bool:
        """Return whether no process holds the lock of a task now."""
        until = self._session.scalar(select(LeaderLock.until).where(LeaderLock.name == task))
        return until is not None and until <= now()

    def take(self, task: str, holder: str, period: timedelta) -> bool:
        """Take the lock of a task for a period, unless another process holds it; return whether it did."""
        moment = now()
        taken = self._session.scalar(
            update(LeaderLock)
            .where(LeaderLock.name == task, LeaderLock.until <= moment)
            .values(holder=holder, until=moment + period)
            .returning(LeaderLock.name)
        )
        return taken is not None


def lead(uow: UnitOfWork, task: str, holder: str, period: timedelta) -> bool:
    """Take the lock of a task if it is free. Reads first: most calls end there, without the write lock."""
    with uow.read() as tx:
        if not LeaderLocks(tx).is_free(task):
            return False
    with uow.begin() as tx:
        return LeaderLocks(tx).take(task, holder, period)
