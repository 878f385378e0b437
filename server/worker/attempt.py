"""One attempt at a generation: how each of its ends is settled."""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final

from catalog.orders import Order
from inference.backend import Picture, Progress
from inference.errors import DeviceBroken, InferenceError
from server.clock import now
from server.errors import DatabaseAway
from server.generations import settlement
from server.generations.claims import Claim, LeaseLost
from server.generations.states import Reason
from server.generations.tables import Generation
from server.images.encoding import encode
from server.images.store import StorageFull
from server.logs import get_log
from server.worker.context import WorkerContext
from server.worker.lease_guard import DeadlinePassed, GraceOver, LeaseGuard

log = get_log(__name__)

SETTLE_RETRY_S: Final = 0.5


class Attempt:
    """A worker's attempt at one generation.

    The hold ends exactly once: here, or after the lease has run out. If settling fails, the stored image is
    left to the reaper: a commit may have succeeded although its answer was lost.
    """

    def __init__(self, context: WorkerContext, claim: Claim, generation: Generation) -> None:
        self.claim = claim
        self._context = context
        self._generation = generation
        self._guard = LeaseGuard(claim, context.uow, context.heartbeat, context.stop, context.settings)
        self._started = time.monotonic()

    @property
    def order(self) -> Order:
        """What is to be drawn."""
        return self._generation.order

    def guard(self, progress: Progress) -> None:
        """Keep the lease, and stop the attempt where it must stop. Raises what `LeaseGuard` does."""
        self._guard(progress)

    def keeps_lease(self, progress: Progress | None = None) -> bool:
        """Keep the lease while others are drawn or stored; if the attempt must stop, settle it.

        progress: of the others; None while they are stored. Returns whether the attempt goes on.
        """
        goes_on = False
        with self.settling():
            if progress is None:
                self._enter_storing()
            else:
                self._guard(progress)
            goes_on = True
        return goes_on  # noqa: RET504 - an error in the body is settled, and the statement skipped

    @contextmanager
    def settling(self) -> Iterator[None]:
        """Settle the generation by whatever error ends the body.

        Raises:
            DeviceBroken: this process can draw no more. The watchdog returns the generation to the queue.

        """
        try:
            try:
                yield
            except (LeaseLost, DatabaseAway, DeviceBroken):
                raise
            except Exception as error:  # noqa: BLE001 - each is settled, and logged
                self._end(error)
        except LeaseLost:
            log.warning("generation.fenced_out", **self._named())
        except DatabaseAway:  # it returns to the queue when its lease runs out
            log.warning("generation.not_settled", **self._named())

    def deliver(self, picture: Picture, drawn_s: float) -> None:
        """Store an image and settle the generation. drawn_s: its share of the seconds of drawing."""
        self._enter_storing()
        image = self._context.images.put(encode(picture.image, self._context.settings.batches.png_level))
        seconds = {phase.value: round(spent, 4) for phase, spent in picture.seconds.items()}
        provenance = picture.provenance
        self._settle(
            lambda: settlement.complete(
                self._context.uow, self.claim, image, provenance, seconds, picture.warnings
            )
        )
        self._context.policy.record_success(drawn_s)
        log.info(
            "generation.completed",
            generation_id=self._generation.id,
            entry=self._generation.entry_key,
            seconds=round(time.monotonic() - self._started, 3),
            phases=seconds,
            backend=provenance.backend,
            provider=provenance.provider,
            cost_microusd=provenance.cost_microusd,
            warnings=picture.warnings,
        )

    def release(self) -> None:
        """Return the generation to the queue.

        Raises:
            LeaseLost, DatabaseAway: as `_settle` does.

        """
        self._settle(lambda: settlement.release(self._context.uow, self.claim))
        log.info("generation.released", **self._named())

    def _enter_storing(self) -> None:
        self._guard.enter(self._context.settings.worker.phase_timeout_s)

    def _end(self, error: Exception) -> None:
        match error:
            case StorageFull():  # no fault of the generation's: another worker or a later try stores it
                self._context.room.record_full(str(error.__cause__))
                self.release()
            case GraceOver():
                self.release()
            case DeadlinePassed():
                self._fail(Reason.GENERATION_TIMEOUT, str(error))
            case InferenceError():
                message = f"{str(error).rstrip('.')}."
                last_error = message if error.needs_operator else None
                self._fail(Reason(error.code), message, error.attempts, last_error)
            case _:
                log.error("generation.broken", exc_info=error, **self._named())
                self._fail(Reason.INTERNAL_ERROR, "The image could not be made.")

    def _fail(
        self,
        reason: Reason,
        message: str,
        attempts: Sequence[Mapping[str, Any]] = (),
        last_error: str | None = None,
    ) -> None:
        """Fail the generation, or let it fail over if another backend is ready."""
        self._context.policy.record_failure(last_error)
        uow, claim = self._context.uow, self.claim
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

    def _named(self) -> dict[str, Any]:
        return {"generation_id": self.claim.generation_id, "attempt": self.claim.attempt}

    def log_start(self, rows: int) -> None:
        """Log what is drawn. rows: in its batch."""
        generation, order = self._generation, self._generation.order
        log.info(
            "generation.started",
            generation_id=generation.id,
            attempt=self.claim.attempt,
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
            rows=rows,
        )


@contextmanager
def released_on_exit(attempts: Iterable[Attempt]) -> Iterator[None]:
    """Return to the queue what is not settled, if a second signal ends the process in the body."""
    try:
        yield
    except SystemExit:
        for attempt in attempts:
            with suppress(LeaseLost, DatabaseAway):
                attempt.release()
        raise
