"""Claims what a worker draws next: one generation by fairness, and those that can be drawn with it."""

from typing import Final

from server.events.repository import Events
from server.events.tables import Kind
from server.generations.queue import PendingQueue
from server.scheduling.claim_policy import HOSTED, Claimable
from server.scheduling.fair_queue import FairQueue, Rules
from server.spending.repository import Spending
from server.worker.attempt import Attempt
from server.worker.context import WorkerContext
from server.worker.lease_guard import first_lease_s

_FAILED_OVER: Final = {Claimable.FIRST_TRIES: False, Claimable.FAILED_OVER: True}


def claim_batch(context: WorkerContext) -> list[Attempt]:
    """Claim the next generation that the worker's policy allows, and its companions; nothing if none waits.

    It does not wait for companions: what comes while a batch is drawn is there for the next one.

    Raises:
        BudgetSpent: the worker is hosted, and the day's budget is spent.
        DatabaseAway: the database does not answer.

    """
    with context.uow.read() as tx:  # most looks end here, without the write lock
        if not PendingQueue(tx).any():
            return []
    worker, lease_s = context.worker, first_lease_s(context.settings)
    with context.uow.begin() as tx:
        claimable = context.policy.claimable(tx)
        if claimable is Claimable.NONE:
            return []
        if context.policy.backend == HOSTED:
            Spending(tx).check(context.settings.hosted_budget_microusd)
        queue = FairQueue(tx, Rules.of(context.settings))
        first = queue.claim(
            worker,
            lease_s,
            context.backend.resident,
            failed_over=_FAILED_OVER.get(claimable),
            max_losses=context.settings.worker.max_attempts,
            swaps=context.swaps,
        )
        if first is None:
            return []
        companions = context.backend.largest_batch(first[1].order) - 1
        claimed = [first, *queue.companions(first[1], worker, lease_s, companions)]
        for claim, generation in claimed:
            Events(tx).append(generation.id, Kind.CLAIMED, attempt=claim.attempt, worker=worker)
    return [Attempt(context, claim, generation) for claim, generation in claimed]
