"""The worker process of one device: RQ's bell on one side, the resident pipelines on the other."""

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
from server.errors import DatabaseAway
from server.failover.duty import ReserveDuty
from server.images.store import ImageStore
from server.queues.jobs import RING, BellJob, open_queue
from server.settings import Settings
from server.telemetry import get_log
from server.worker.backends import make_duty
from server.worker.leash import StopSign
from server.worker.presence import present
from server.worker.pulse import Pulse
from server.worker.runner import Runner

log = get_log(__name__)

RECONNECT_S: Final = 1.0
LONGEST_RECONNECT_S: Final = 4.0  # Redis may be wiped at any time, and nothing is lost but a moment

POLL_S: Final = 1.0
"""How often a worker in reserve looks whether it is needed: the bell is for those whose turn is first."""

BackendFactory = Callable[[Settings, str], Backend]


class NoDeathPenalty(BaseDeathPenalty):
    """No timeout of RQ's: its signal cannot interrupt a kernel. The leash and the watchdog keep the time."""

    def setup_death_penalty(self) -> None:
        """Do nothing."""

    def cancel_death_penalty(self) -> None:
        """Do nothing."""


class BellWorker(SimpleWorker):
    """Answers rings in this process, since CUDA does not survive a fork and weights stay resident."""

    death_penalty_class = NoDeathPenalty
    max_connection_wait_time = LONGEST_RECONNECT_S
    stop_sign: StopSign

    def request_stop(self, signum: int, frame: Any) -> None:
        """Note when the first signal came, then let the running generation finish."""
        self.stop_sign.ask()
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]  # as RQ has it

    def set_shutdown_requested_date(self) -> None:
        """Tell Redis nothing: this runs within the signal, where an error is one of what is being drawn."""


def run_worker(
    settings: Settings, name: str, pulse: Pulse, backend_name: str, make_backend: BackendFactory
) -> None:
    """Answer the bell until SIGTERM; the running generation then finishes or is released."""
    pulse.busy(settings.load_timeout_s)
    stop_sign = StopSign(settings.shutdown_grace_s)
    uow = UnitOfWork(open_engine(settings.database_url))
    images = ImageStore(settings.images_dir)
    backend = make_backend(settings, backend_name)
    duty = make_duty(settings, backend_name)
    _warm_up(backend, uow)
    runner = Runner(name, uow, backend, images, settings, pulse, stop_sign, duty)
    BellJob.answers[RING] = runner.answer
    try:
        with present(name, uow, duty):
            pulse.ready()
            log.info("worker.ready", worker=name, backend=backend_name, resident=sorted(backend.resident))
            while not stop_sign.asked.is_set():
                pulse.idle()
                if isinstance(duty, ReserveDuty):
                    _look(runner, stop_sign)
                else:
                    _listen(settings, name, stop_sign)
    finally:
        backend.close()
        uow.close()
        log.info("worker.stopped", worker=name)


def _look(runner: Runner, stop_sign: StopSign) -> None:
    """Look periodically whether there is work for a worker in reserve, until told to stop."""

    def stop(_number: int, _frame: Any) -> None:
        if stop_sign.asked.is_set():
            raise SystemExit  # told a second time: at once
        stop_sign.ask()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    while not stop_sign.asked.wait(POLL_S):
        while runner.answer():
            pass


def _listen(settings: Settings, name: str, stop_sign: StopSign) -> None:
    """Answer rings until told to stop, or until Redis is gone for good."""
    url = settings.connected_redis_url()
    if url is None:
        log.warning("worker.no_redis", hint="Set REDIS_URL, or run 'avatar-creator up'")
        stop_sign.asked.wait(RECONNECT_S)
        return
    try:
        connection = Redis.from_url(url)
        worker = BellWorker(
            [open_queue(connection)],
            name=name,
            connection=connection,
            job_class=BellJob,
            serializer=JSONSerializer,
            log_job_description=False,
        )
        worker.stop_sign = stop_sign
        worker.work(logging_level="WARNING")
    except RedisError as error:
        log.warning("worker.redis_away", cause=type(error).__name__)
    # RQ's loop also ends when Redis goes away in the middle of a job.
    stop_sign.asked.wait(RECONNECT_S)


def _warm_up(backend: Backend, uow: UnitOfWork) -> None:
    """Make the pipeline that most entries draw with resident. Its weights missing is told, not fatal."""
    try:
        with uow.read() as tx:
            entries = [entry for entry in tx.entries.all() if entry.enabled]
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
