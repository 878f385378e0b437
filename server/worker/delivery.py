"""Stores and settles what was drawn, beside the drawing of what comes next."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait

from server.scheduling.claim_policy import HOSTED
from server.worker.context import WorkerContext
from server.worker.drawing import Drawn
from server.worker.lease_guard import LEASE_CHECK_PERIOD_S


class Deliveries:
    """Delivers one batch at a time, in a thread beside the loop if OVERLAP is on.

    So a worker holds two batches at most: the one that is stored and the one that is drawn.
    """

    def __init__(self, context: WorkerContext) -> None:
        self._context = context
        self._running: Future[None] | None = None
        # What a hosted image has cost must be known before the budget allows the next one.
        overlaps = context.settings.batches.overlap == "on" and context.policy.backend != HOSTED
        self._thread = ThreadPoolExecutor(1, "delivery") if overlaps else None

    def hand_over(self, drawn: Sequence[Drawn]) -> None:
        """Deliver a batch: begin as soon as the last one is delivered, and keep its leases until then."""
        if self._thread is None:
            self._deliver(drawn)
            return
        while self._running is not None and wait([self._running], LEASE_CHECK_PERIOD_S).not_done:
            drawn = _still_held(drawn)
        self.finish()
        if drawn:
            self._running = self._thread.submit(self._deliver, drawn)

    def finish(self) -> None:
        """Wait until everything is delivered."""
        if self._running is not None:
            self._running.result()
            self._running = None

    def close(self) -> None:
        """Finish, and end the thread."""
        if self._thread is not None:
            self._thread.shutdown()

    def _deliver(self, drawn: Sequence[Drawn]) -> None:
        """Deliver one after another, and keep the leases of those that follow."""
        try:
            while drawn:
                first, *rest = drawn
                drawn = _still_held(rest)
                with first.attempt.settling():
                    first.attempt.deliver(first.picture, first.seconds)
        finally:
            self._context.heartbeat.idle()


def _still_held(drawn: Sequence[Drawn]) -> list[Drawn]:
    return [one for one in drawn if one.attempt.keeps_lease()]
