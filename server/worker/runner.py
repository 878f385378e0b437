"""Answers the bell: claims a generation, has it drawn, stores it and settles it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from inference.backend import Backend, Order
from inference.errors import InferenceError
from server.clock import now
from server.db.tables import Generation
from server.db.unit_of_work import UnitOfWork
from server.errors import BudgetSpent, DatabaseAway
from server.events import log as events
from server.failover.duty import HOSTED, Duty, Work
from server.generations import settlement
from server.generations.states import Reason
from server.generations.store import Claim, LeaseLost
from server.images.store import ImageStore
from server.settings import Settings
from server.telemetry import get_log
from server.worker.delivery import avatar_of, encode
from server.worker.leash import DeadlinePassed, Leash, StopAsked, StopSign, first_lease_s
from server.worker.pulse import Pulse

log = get_log(__name__)

SETTLE_RETRY_S: Final = 0.5


class Runner:
    """Draws one generation at a time on one backend."""

    def __init__(
        self,
        name: str,
        uow: UnitOfWork,
        backend: Backend,
        images: ImageStore,
        settings: Settings,
        pulse: Pulse,
        stop_sign: StopSign,
        duty: Duty,
    ) -> None:
        self.name = name
        self._uow = uow
        self._backend = backend
        self._images = images
        self._settings = settings
        self._pulse = pulse
        self._stop_sign = stop_sign
        self.duty = duty
        self._budget_told = False

    def answer(self, _generation_id: str = "") -> bool:
        """Answer one ring: draw whichever generation is due. The id that was rung for is only a hint.

        Return whether there was one.
        """
        if self._stop_sign.asked.is_set():
            return False
        self._pulse.busy(self._settings.phase_timeout_s)
        try:
            claimed = self._claim()
            self._budget_told = False
            if claimed is not None:
                self._attempt(*claimed)
                return True
        except LeaseLost as error:
            fenced = error.claim
            log.warning("generation.fenced_out", generation_id=fenced.generation_id, attempt=fenced.attempt)
        except BudgetSpent as error:
            # What is pending waits for tomorrow, or for its longest wait, which gives it back.
            if not self._budget_told:
                log.warning("worker.budget_spent", seconds_left=error.retry_after_s)
            self._budget_told = True
        except DatabaseAway:
            # What is pending is rung for again; what is unsettled returns when its lease ends.
            log.warning("worker.database_away")
        finally:
            self._pulse.idle()
        return False

    def _claim(self) -> tuple[Claim, Generation] | None:
        with self._uow.begin() as tx:
            work = self.duty.work(tx)
            if work is Work.NONE:
                return None
            passed_on = {Work.FIRST_TRIES: False, Work.PASSED_ON: True}.get(work)
            if self.duty.backend == HOSTED:
                tx.spending.check(self._settings.hosted_budget_microusd)
            lease_s = first_lease_s(self._settings)
            claimed = tx.generations.claim(self.name, lease_s, self._backend.resident, passed_on=passed_on)
            if claimed is not None:
                claim, generation = claimed
                tx.events.append(generation.id, events.CLAIMED, attempt=claim.attempt, worker=self.name)
        return claimed

    def _attempt(self, claim: Claim, generation: Generation) -> None:
        """Draw and settle. Whatever happens, the hold ends once: here, or after the lease's end.

        A stored image that no avatar came to own is left to the sweep: a commit whose answer was lost
        may have made it somebody's.
        """
        _log_start(claim, generation)
        leash = Leash(claim, self._uow, self._pulse, self._stop_sign, self._settings)
        started = time.monotonic()
        try:
            self._draw(leash, claim, generation)
            self.duty.delivered(time.monotonic() - started)
        except (LeaseLost, DatabaseAway):
            raise
        except StopAsked:
            self._release(leash, claim)
        except DeadlinePassed as error:
            self._fail(leash, claim, Reason.GENERATION_TIMEOUT, str(error))
        except InferenceError as error:
            message = f"{str(error).rstrip('.')}."
            trouble = message if error.operators else None
            self._fail(leash, claim, Reason(error.code), message, error.attempts, trouble)
        except SystemExit:  # told a second time to stop: at once
            self._release(leash, claim)
            raise
        except Exception:
            log.exception("generation.broken", generation_id=generation.id, attempt=claim.attempt)
            self._fail(leash, claim, Reason.INTERNAL_ERROR, "The image could not be made.")

    def _draw(self, leash: Leash, claim: Claim, generation: Generation) -> None:
        started = time.monotonic()
        picture = self._backend.generate(Order.of_recipe(generation.recipe), leash)
        leash.enter(self._settings.phase_timeout_s)
        stored = self._images.put(encode(picture.image))
        avatar = avatar_of(generation, stored)
        seconds = {phase.value: round(spent, 4) for phase, spent in picture.seconds.items()}
        making = asdict(picture.making)
        self._settle(
            leash,
            lambda: settlement.complete(self._uow, claim, avatar, making, seconds, picture.warnings),
        )
        log.info(
            "generation.completed",
            generation_id=generation.id,
            entry=generation.entry_key,
            seconds=round(time.monotonic() - started, 3),
            phases=seconds,
            backend=picture.making.backend,
            provider=picture.making.provider,
            cost_microusd=picture.making.cost_microusd,
            warnings=picture.warnings,
        )

    def _fail(
        self,
        leash: Leash,
        claim: Claim,
        reason: Reason,
        message: str,
        asked: Sequence[Mapping[str, Any]] = (),
        trouble: str | None = None,
    ) -> None:
        """Fail the generation, or leave it to another backend where there is one."""
        self.duty.failed(trouble)
        if self._passes_on():
            self._settle(leash, lambda: settlement.pass_on(self._uow, claim, reason, message))
        else:
            self._settle(leash, lambda: settlement.fail(self._uow, claim, reason, message, asked))

    def _passes_on(self) -> bool:
        try:
            with self._uow.read() as tx:
                return self.duty.passes_on(tx)
        except DatabaseAway:
            return False

    def _release(self, leash: Leash, claim: Claim) -> None:
        self._settle(leash, lambda: settlement.release(self._uow, claim))
        log.info("generation.released", generation_id=claim.generation_id, attempt=claim.attempt)

    def _settle(self, leash: Leash, settle: Callable[[], object]) -> None:
        """Settle, and try again while the database is away and the lease lasts.

        Raises:
            LeaseLost: the generation is no longer this attempt's, or a lost answer was a yes.
            DatabaseAway: the lease ended first; the reaper does the rest.

        """
        while True:
            self._pulse.busy(self._settings.phase_timeout_s)
            try:
                settle()
            except DatabaseAway:
                if now() > leash.lease_until:
                    raise
                time.sleep(SETTLE_RETRY_S)
            else:
                return


def _log_start(claim: Claim, generation: Generation) -> None:
    recipe = generation.recipe
    adapter = recipe["adapter"] or {}
    log.info(
        "generation.started",
        generation_id=generation.id,
        attempt=claim.attempt,
        entry=generation.entry_name,
        key=generation.entry_key,
        credits=generation.credits,
        size=f"{recipe['width_px']}x{recipe['height_px']}",
        model=recipe["model_id"],
        lora=adapter.get("model_id"),
        lora_scale=adapter.get("scale"),
        steps=recipe["steps"],
        guidance=recipe["guidance_scale"],
        seed=recipe["seed"],
    )
