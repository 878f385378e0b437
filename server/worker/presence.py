"""Tells the others every few seconds that a worker is there, from a thread: drawing takes long."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

from server.db.unit_of_work import UnitOfWork
from server.errors import DatabaseAway
from server.failover.duty import Duty
from server.failover.store import TELL_PERIOD_S
from server.threads import in_thread


@contextmanager
def present(name: str, uow: UnitOfWork, duty: Duty) -> Iterator[None]:
    """Be known as a worker while the body runs, and as gone after it."""
    try:
        with in_thread("presence", partial(_tell, name, uow, duty)):
            yield
    finally:
        with suppress(DatabaseAway), uow.begin() as tx:
            tx.workers.forget(name)


def _tell(name: str, uow: UnitOfWork, duty: Duty, stopped: threading.Event) -> None:
    while True:
        # Silence is what a database that is away makes of it; the next round tells again.
        with suppress(DatabaseAway), uow.begin() as tx:
            tx.workers.tell(
                name,
                duty.backend,
                accepts=duty.accepts,
                seconds_each=duty.seconds_each,
                trouble=duty.trouble,
            )
        if stopped.wait(TELL_PERIOD_S):
            return
