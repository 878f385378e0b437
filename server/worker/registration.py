"""Keeps a worker in the registry: a thread sends heartbeats while the worker draws."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from threading import Event

from server.errors import DatabaseAway
from server.scheduling.registry import HEARTBEAT_PERIOD_S, WorkerRegistry
from server.supervisor.shutdown import in_thread
from server.worker.context import WorkerContext


@contextmanager
def registered(context: WorkerContext) -> Iterator[None]:
    """Keep a worker in the registry while the body runs, and remove it afterwards."""
    try:
        with in_thread("registration", partial(_send_heartbeats, context)):
            yield
    finally:
        with suppress(DatabaseAway), context.uow.begin() as tx:
            WorkerRegistry(tx).remove(context.worker)


def _send_heartbeats(context: WorkerContext, stopped: Event) -> None:
    policy = context.policy
    while True:
        # While the database is away a heartbeat is lost; the next round sends one again.
        with suppress(DatabaseAway), context.uow.begin() as tx:
            WorkerRegistry(tx).record_heartbeat(
                context.worker,
                policy.backend,
                accepts=policy.accepts,
                mean_duration_s=policy.mean_duration_s,
                last_error=policy.last_error,
                reported=context.device.reported,
            )
        if stopped.wait(HEARTBEAT_PERIOD_S):
            return
