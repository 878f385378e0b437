"""The worker process of one device: looks for generations to draw, woken by RQ."""

import random
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any, Final

from catalog.entries import Entry
from inference.backend import Backend
from inference.errors import DeviceBroken, DeviceUnfit, InferenceError
from server.db.engine import open_database
from server.db.unit_of_work import UnitOfWork
from server.entries.repository import Entries
from server.errors import DatabaseAway
from server.images.store import ImageStore
from server.logs import get_log
from server.scheduling.claim_policy import ReservePolicy
from server.scheduling.wakeups import Listener
from server.settings import Settings
from server.supervisor.heartbeat import Heartbeat
from server.worker.backends import make_policy
from server.worker.context import WorkerContext
from server.worker.lease_guard import StopRequest
from server.worker.registration import registered
from server.worker.runner import Runner
from server.worker.storage_room import StorageRoom

log = get_log(__name__)

POLL_S: Final = 1.0
"""How often an idle worker looks at the database: wake-ups may be lost, and a worker in reserve gets none."""

JITTER: Final = 0.2  # of POLL_S: many workers do not look at the same moment

DEVICE_BROKEN: Final = 75  # the exit status; as sysexits.h has it, a failure that another try may mend
DEVICE_UNFIT: Final = 78  # as above, a configuration that does not fit
EXIT_TIMEOUT_S: Final = 20.0
"""The watchdog kills a process whose device has failed if it has not ended by then."""

BackendFactory = Callable[[Settings, str, Sequence[Entry]], Backend]
"""Makes the backend of a name, which is to draw these entries."""


def run_worker(
    settings: Settings, name: str, heartbeat: Heartbeat, backend_name: str, make_backend: BackendFactory
) -> None:
    """Draw what is due until SIGTERM; then finish or release what is held.

    Raises:
        SystemExit: the device has failed, and the watchdog returns what was drawn to the queue; or nothing
            can be drawn, for want of a device, of all weights or of a key.

    """
    heartbeat.busy(settings.worker.load_timeout_s)
    uow = UnitOfWork(open_database(settings.database))
    entries = _enabled_entries(uow)
    try:
        backend = make_backend(settings, backend_name, entries)
    except DeviceUnfit as error:
        uow.close()
        heartbeat.failed(str(error), EXIT_TIMEOUT_S)
        log.critical("worker.device_unfit", worker=name, device=error.device, cause=error.cause)
        raise SystemExit(DEVICE_UNFIT) from error
    images = ImageStore(settings.server.images_dir)
    context = WorkerContext(
        worker=name,
        uow=uow,
        backend=backend,
        images=images,
        room=StorageRoom(images),
        settings=settings,
        heartbeat=heartbeat,
        stop=StopRequest(settings.worker.shutdown_grace_s),
        policy=make_policy(settings, backend_name),
    )
    _stop_on_signals(context.stop)
    try:
        _warm_up(context.backend, entries)
        context.device.look(context.backend)
        with registered(context):
            heartbeat.ready()
            resident = sorted(context.backend.resident)
            log.info("worker.ready", worker=name, backend=backend_name, resident=resident)
            with closing(Runner(context)) as runner:
                draw_until_stopped(runner)
    except DeviceBroken as error:
        heartbeat.failed(str(error), EXIT_TIMEOUT_S)
        log.critical("worker.device_broken", worker=name, device=error.device, cause=error.cause)
        raise SystemExit(DEVICE_BROKEN) from error
    except InferenceError as error:  # of the warm-up: what fails later ends its generation alone
        heartbeat.failed(str(error), EXIT_TIMEOUT_S)
        log.critical("worker.cannot_draw", worker=name, cause=str(error))
        raise SystemExit(DEVICE_UNFIT) from error
    finally:
        context.backend.close()
        context.uow.close()
        log.info("worker.stopped", worker=name)


def draw_until_stopped(runner: Runner) -> None:
    """Draw one generation after another; between them wait for a wake-up, or for the next look."""
    context = runner.context
    stopped, listener = context.stop.received, Listener(context.settings, POLL_S * (1 + JITTER))
    context.heartbeat.idle()
    while not stopped.is_set():
        drew = runner.run_next()
        wait_s = 0.0 if drew else POLL_S * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311  # no secret
        if isinstance(context.policy, ReservePolicy):  # wake-ups go to local workers
            stopped.wait(wait_s)
        else:
            listener.wait(wait_s, stopped)


def _stop_on_signals(stop: StopRequest) -> None:
    """Let the running generation finish at the first signal; at a second one, stop at once."""

    def receive(_number: int, _frame: Any) -> None:
        if stop.is_repeated():
            raise SystemExit
        stop.receive()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, receive)


def _enabled_entries(uow: UnitOfWork) -> list[Entry]:
    """Return what the catalogue offers; nothing, with a line in the log, if it cannot be read or is empty."""
    try:
        with uow.read() as tx:
            entries = [entry for entry in Entries(tx).all() if entry.enabled]
    except DatabaseAway as error:
        log.warning("worker.no_catalogue", cause=str(error))
        return []
    if not entries:
        log.warning("worker.no_catalogue", hint="Run 'avatar-creator seed'")
    return entries


def _warm_up(backend: Backend, entries: Sequence[Entry]) -> None:
    """Load the pipeline that most entries use, of those whose weights can be loaded.

    Raises:
        InferenceError: none can be loaded, so that nothing can be drawn: why the first cannot.

    """
    models = [entry.model_id for entry in entries]
    wanted = sorted(
        entries, key=lambda entry: (models.count(entry.model_id), entry.adapter is not None), reverse=True
    )
    failures: list[InferenceError] = []
    for model_id, revision, adapter in dict.fromkeys(
        (entry.model_id, entry.revision, entry.adapter) for entry in wanted
    ):
        started = time.monotonic()
        try:
            backend.warm_up(model_id, revision, adapter)
        except InferenceError as error:
            log.error("worker.not_warm", model=model_id, cause=str(error))  # noqa: TRY400  # the cause suffices
            failures.append(error)
        else:
            log.info("worker.warm", model=model_id, seconds=round(time.monotonic() - started, 2))
            return
    if failures:
        raise failures[0]
