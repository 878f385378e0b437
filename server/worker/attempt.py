"""One attempt at a generation: claimed, drawn, stored and settled."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self

from inference.backend import Backend, Phase, Picture, Progress
from inference.errors import DeviceBroken, InferenceError
from server.clock import now
from server.db.unit_of_work import UnitOfWork
from server.errors import DatabaseAway
from server.events.repository import Events
from server.events.tables import Kind
from server.generations import settlement
from server.generations.claims import Claim, LeaseLost
from server.generations.queue import PendingQueue
from server.generations.states import Reason
from server.generations.tables import Generation
from server.images.encoding import encode
from server.images.store import ImageStore, StorageFull
from server.logs import get_log
from server.scheduling.claim_policy import HOSTED, Claimable, ClaimPolicy
from server.scheduling.fair_queue import FairQueue, Rules
from server.scheduling.swap_budget import SwapBudget
from server.settings import Settings
from server.spending.repository import Spending
from server.supervisor.heartbeat import Heartbeat
from server.worker.lease_guard import DeadlinePassed, GraceOver, LeaseGuard, StopRequest, first_lease_s
from server.worker.step_recorder import recording

log = get_log(__name__)

SETTLE_RETRY_S: Final = 0.5
_FAILED_OVER: Final = {Claimable.FIRST_TRIES: False, Claimable.FAILED_OVER: True}


@dataclass(frozen=True)
class WorkerContext:
    """What a worker process works with, in all of its attempts."""

    worker: str
    uow: UnitOfWork
    backend: Backend
    images: ImageStore
    settings: Settings
    heartbeat: Heartbeat
    stop: StopRequest
    policy: ClaimPolicy
    swaps: SwapBudget = field(default_factory=SwapBudget)


class Attempt:
    """A worker's attempt at one generation.

    The hold ends exactly once: here, or after the lease has run out. If settling fails, the stored image is
    left to the reaper: a commit may have succeeded although its answer was lost.
    """

    def __init__(self, context: WorkerContext, claim: Claim, generation: Generation) -> None:
        self._context = context
        self._claim = claim
        self._generation = generation
        self._guard = LeaseGuard(claim, context.uow, context.heartbeat, context.stop, context.settings)

    @classmethod
    def claim(cls, context: WorkerContext) -> Self | None:
        """Claim the next generation that the worker's policy allows; None if there is none.

        Raises:
            BudgetSpent: the worker is hosted, and the day's budget is spent.
            DatabaseAway: the database does not answer.

        """
        with context.uow.read() as tx:  # most looks end here, without the write lock
            if not PendingQueue(tx).any():
                return None
        with context.uow.begin() as tx:
            claimable = context.policy.claimable(tx)
            if claimable is Claimable.NONE:
                return None
            if context.policy.backend == HOSTED:
                Spending(tx).check(context.settings.hosted_budget_microusd)
            claimed = FairQueue(tx, Rules.of(context.settings)).claim(
                context.worker,
                first_lease_s(context.settings),
                context.backend.resident,
                failed_over=_FAILED_OVER.get(claimable),
                max_losses=context.settings.worker.max_attempts,
                swaps=context.swaps,
            )
            if claimed is None:
                return None
            claim, generation = claimed
            Events(tx).append(generation.id, Kind.CLAIMED, attempt=claim.attempt, worker=context.worker)
        return cls(context, claim, generation)

    def run(self) -> None:
        """Draw and settle.

        Raises:
            LeaseLost: the generation is no longer this attempt's.
            DatabaseAway: the lease ended before it could be settled; the reaper does the rest.
            StorageFull: the image could not be stored; the generation waits again.
            DeviceBroken: this process can draw no more. The watchdog returns the generation to the queue.

        """
        self._log_start()
        started = time.monotonic()
        try:
            self._deliver()
            self._context.policy.record_success(time.monotonic() - started)
        except (LeaseLost, DatabaseAway, DeviceBroken):
            raise
        except StorageFull:  # no fault of the generation's: another worker or a later try stores it
            self._release()
            raise
        except GraceOver:
            self._release()
        except DeadlinePassed as error:
            self._fail(Reason.GENERATION_TIMEOUT, str(error))
        except InferenceError as error:
            message = f"{str(error).rstrip('.')}."
            last_error = message if error.needs_operator else None
            self._fail(Reason(error.code), message, error.attempts, last_error)
        except SystemExit:  # a second signal: stop at once
            self._release()
            raise
        except Exception:
            log.exception("generation.broken", generation_id=self._generation.id, attempt=self._claim.attempt)
            self._fail(Reason.INTERNAL_ERROR, "The image could not be made.")

    def _deliver(self) -> None:
        started = time.monotonic()
        picture = self._draw()
        self._context.swaps.record_load(picture.seconds.get(Phase.LOAD, 0.0))
        self._guard.enter(self._context.settings.worker.phase_timeout_s)
        image = self._context.images.put(encode(picture.image))
        seconds = {phase.value: round(spent, 4) for phase, spent in picture.seconds.items()}
        provenance = picture.provenance
        self._settle(
            lambda: settlement.complete(
                self._context.uow, self._claim, image, provenance, seconds, picture.warnings
            )
        )
        log.info(
            "generation.completed",
            generation_id=self._generation.id,
            entry=self._generation.entry_key,
            seconds=round(time.monotonic() - started, 3),
            phases=seconds,
            backend=provenance.backend,
            provider=provenance.provider,
            cost_microusd=provenance.cost_microusd,
            warnings=picture.warnings,
        )

    def _draw(self) -> Picture:
        order = self._generation.order
        with recording(self._context.uow, self._claim, order.steps) as record:

            def report(progress: Progress) -> None:
                record(progress)
                self._guard(progress)

            return self._context.backend.generate(order, report)

    def _fail(
        self,
        reason: Reason,
        message: str,
        attempts: Sequence[Mapping[str, Any]] = (),
        last_error: str | None = None,
    ) -> None:
        """Fail the generation, or let it fail over if another backend is ready."""
        self._context.policy.record_failure(last_error)
        uow, claim = self._context.uow, self._claim
        if self._fails_over():
            self._settle(lambda: settlement.fail_over(uow, claim, reason, message))
        else:
            self._settle(lambda: settlement.fail(uow, claim, reason, message, attempts))

    def _fails_over(self) -> bool:
        try:
            with self._context.uow.read() as tx:
                return self._context.policy.fails_over(tx)
        except DatabaseAway:
            return False

    def _release(self) -> None:
        self._settle(lambda: settlement.release(self._context.uow, self._claim))
        log.info("generation.released", generation_id=self._claim.generation_id, attempt=self._claim.attempt)

    def _settle(self, settle: Callable[[], object]) -> None:
        """Settle. While the database is away and the lease lasts, try again.

        Raises:
            LeaseLost: the generation is no longer this attempt's, or an earlier try had succeeded.
            DatabaseAway: the lease ended first; the reaper does the rest.

        """
        while True:
            self._context.heartbeat.busy(self._context.settings.worker.phase_timeout_s)
            try:
                settle()
            except DatabaseAway:
                if now() > self._guard.lease_until:
                    raise
                time.sleep(SETTLE_RETRY_S)
            else:
                return

    def _log_start(self) -> None:
        generation, order = self._generation, self._generation.order
        log.info(
            "generation.started",
            generation_id=generation.id,
            attempt=self._claim.attempt,
            entry=generation.entry_name,
            key=generation.entry_key,
            credits=generation.credits,
            size=f"{order.width_px}x{order.height_px}",
            model=order.model_id,
            lora=order.adapter.model_id if order.adapter else None,
            lora_scale=order.adapter.scale if order.adapter else None,
            steps=order.steps,
            guidance=order.guidance_scale,
            seed=order.seed,
        )
