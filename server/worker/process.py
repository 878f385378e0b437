"""The worker process of one device: RQ's wake-ups on one side, the resident pipelines on the other."""

import signal
import time
from collections.abc import Callable
from typing import Any, Final

from redis import Redis
from redis.exceptions import RedisError
from rq import SimpleWorker
from rq.serializers import JSONSerializer
from rq.timeouts import BaseDeathPenalty

from inference.backend import Backend
from inference.errors import InferenceError
from server.db.engine import open_engine
from server.db.unit_of_work import UnitOfWork
from server.entries.repository import Entries
from server.errors import DatabaseAway
from server.images.store import ImageStore
from server.logs import get_log
from server.scheduling.claim_policy import ReservePolicy
from server.scheduling.wakeups import WAKE_UP, WakeUpJob, open_queue
from server.settings import Settings
from server.supervisor.heartbeat import Heartbeat
from server.worker.attempt import WorkerContext
from server.worker.backends import make_policy
from server.worker.lease_guard import StopRequest
from server.worker.registration import registered
from server.worker.runner import Runner

log = get_log(__name__)

RECONNECT_S: Final = 1.0
LONGEST_RECONNECT_S: Final = 4.0  # an outage of Redis costs no more than this

POLL_S: Final = 1.0
"""How often a worker in reserve checks whether it is needed: wake-ups go to local workers."""

BackendFactory = Callable[[Settings, str], Backend]


class NoDeathPenalty(BaseDeathPenalty):
    """Turns RQ's timeout off: a signal cannot interrupt a kernel. Lease guard and watchdog keep the time."""

    def setup_death_penalty(self) -> None:
        """Do nothing."""

    def cancel_death_penalty(self) -> None:
        """Do nothing."""


class WakeUpWorker(SimpleWorker):
    """Handles wake-ups in this process: CUDA does not survive a fork, and weights stay resident."""

    death_penalty_class = NoDeathPenalty
    max_connection_wait_time = LONGEST_RECONNECT_S
    stop: StopRequest

    def request_stop(self, signum: int, frame: Any) -> None:
        """Record the first signal, then let the running generation finish."""
        self.stop.receive()
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]  # as RQ has it

    def procline(self, message: str) -> None:
        """Keep the title of the process: operators find a worker by its command line."""

    def set_shutdown_requested_date(self) -> None:
        """Write nothing to Redis: in the signal handler an error would fail the generation."""


def run_worker(
    settings: Settings, name: str, heartbeat: Heartbeat, backend_name: str, make_backend: BackendFactory
) -> None:
    """Draw at every wake-up until SIGTERM; then finish or release the running generation."""
    heartbeat.busy(settings.worker.load_timeout_s)
    context = WorkerContext(
        worker=name,
        uow=UnitOfWork(open_engine(settings.database.url)),
        backend=make_backend(settings, backend_name),
        images=ImageStore(settings.server.images_dir),
        settings=settings,
        heartbeat=heartbeat,
        stop=StopRequest(settings.worker.shutdown_grace_s),
        policy=make_policy(settings, backend_name),
    )
    _warm_up(context.backend, context.uow)
    runner = Runner(context)
    WakeUpJob.handlers[WAKE_UP] = runner.run_next
    try:
        with registered(name, context.uow, context.policy):
            heartbeat.ready()
            resident = sorted(context.backend.resident)
            log.info("worker.ready", worker=name, backend=backend_name, resident=resident)
            while not context.stop.received.is_set():
                heartbeat.idle()
                if isinstance(context.policy, ReservePolicy):
                    _poll(runner)
                else:
                    _listen(context)
    finally:
        context.backend.close()
        context.uow.close()
        log.info("worker.stopped", worker=name)


def _poll(runner: Runner) -> None:
    """Check periodically for work of a worker in reserve, until it has to stop."""
    stop = runner.context.stop

    def receive(_number: int, _frame: Any) -> None:
        if stop.received.is_set():
            raise SystemExit  # a second signal: stop at once
        stop.receive()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, receive)
    while not stop.received.wait(POLL_S):
        while runner.run_next():
            pass


def _listen(context: WorkerContext) -> None:
    """Handle wake-ups until the worker has to stop, or Redis stays away."""
    stop, url = context.stop, context.settings.connected_redis_url()
    if url is None:
        log.warning("worker.no_redis", hint="Set REDIS_URL, or run 'avatar-creator up'")
        stop.received.wait(RECONNECT_S)
        return
    try:
        connection = Redis.from_url(url)
        worker = WakeUpWorker(
            [open_queue(connection)],
            name=context.worker,
            connection=connection,
            job_class=WakeUpJob,
            serializer=JSONSerializer,
            log_job_description=False,
        )
        worker.stop = stop
        worker.work(logging_level="WARNING")
    except RedisError as error:
        log.warning("worker.redis_away", cause=type(error).__name__)
    # RQ's loop also ends when Redis goes away in the middle of a job.
    stop.received.wait(RECONNECT_S)


def _warm_up(backend: Backend, uow: UnitOfWork) -> None:
    """Load the pipeline that most entries use. Missing weights are logged, not fatal."""
    try:
        with uow.read() as tx:
            entries = [entry for entry in Entries(tx).all() if entry.enabled]
    except DatabaseAway as error:
        log.warning("worker.no_catalogue", cause=str(error))
        return
    if not entries:
        log.warning("worker.no_catalogue", hint="Run 'avatar-creator seed'")
        return
    models = [entry.model_id for entry in entries]
    first = max(entries, key=lambda entry: (models.count(entry.model_id), entry.adapter is not None))
    started = time.monotonic()
    try:
        backend.warm_up(first.model_id, first.revision, first.adapter)
    except InferenceError as error:
        log.error("worker.not_warm", model=first.model_id, cause=str(error))  # noqa: TRY400  # the cause suffices
    else:
        log.info("worker.warm", model=first.model_id, seconds=round(time.monotonic() - started, 2))
