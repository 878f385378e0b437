"""Keeps a worker in the registry: a thread sends heartbeats while the worker draws."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from threading import Event

from server.db.unit_of_work import UnitOfWork
from server.errors import DatabaseAway
from server.scheduling.claim_policy import ClaimPolicy
from server.scheduling.registry import HEARTBEAT_PERIOD_S, WorkerRegistry
from server.supervisor.shutdown import in_thread


@contextmanager
def registered(name: str, uow: UnitOfWork, policy: ClaimPolicy) -> Iterator[None]:
    """Keep a worker in the registry while the body runs, and remove it afterwards."""
    try:
        with in_thread("registration", partial(_send_heartbeats, name, uow, policy)):
            yield
    finally:
        with suppress(DatabaseAway), uow.begin() as tx:
            WorkerRegistry(tx).remove(name)


def _send_heartbeats(name: str, uow: UnitOfWork, policy: ClaimPolicy, stopped: Event) -> None:
    while True:
        # While the database is away a heartbeat is lost; the next round sends one again.
        with suppress(DatabaseAway), uow.begin() as tx:
            WorkerRegistry(tx).record_heartbeat(
                name,
                policy.backend,
                accepts=policy.accepts,
                mean_duration_s=policy.mean_duration_s,
                last_error=policy.last_error,
            )
        if stopped.wait(HEARTBEAT_PERIOD_S):
            return
