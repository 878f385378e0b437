"""Which generation is drawn next: fair between users, and preferring the pipeline that is resident."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import Final

from server.accounts.repository import Users
from server.clock import now
from server.db.unit_of_work import Transaction
from server.generations.claims import Claim
from server.generations.queue import Head, PendingQueue
from server.generations.repository import Generations
from server.generations.tables import Generation

PATIENCE: Final = timedelta(seconds=30)  # about one swap of pipelines; then nobody is overtaken any more
HEADS: Final = 32  # users considered for one claim, those served longest ago first
CLAIM_TRIES: Final = 8  # rows that others have locked or claimed before a claim gives up


class FairQueue:
    """The pending generations as a queue in which users take turns."""

    def __init__(self, tx: Transaction) -> None:
        self._pending = PendingQueue(tx)
        self._generations = Generations(tx)
        self._users = Users(tx)

    def claim(
        self,
        worker: str,
        lease_s: float,
        resident: Collection[str],
        *,
        failed_over: bool | None = None,
        max_losses: int | None = None,
    ) -> tuple[Claim, Generation] | None:
        """Give a worker the next pending generation and a lease on it; None if none waits.

        One whose row is locked is passed over: whoever has it may keep it for long. See `PendingQueue.heads`.
        """
        passed_over: set[str] = set()
        for _ in range(CLAIM_TRIES):
            moment = now()
            heads = self._pending.heads(failed_over, HEADS, max_losses=max_losses, without=passed_over)
            head = next_of(heads, resident, moment)
            if head is None:
                return None
            passed_over.add(head.generation_id)
            generation = self._generations.start(head.generation_id, worker, lease_s, moment)
            if generation is not None:
                self._users.record_claim(head.user_id, moment)
                return Claim(head.generation_id, generation.attempt, worker), generation
        return None


def next_of(heads: Sequence[Head], resident: Collection[str], moment: datetime) -> Head | None:
    """Choose from the heads of all users' queues.

    Users take turns: the user who was served longest ago is next. A generation whose pipeline is resident
    may overtake one whose pipeline is not, unless that has waited longer than PATIENCE.
    """
    if not heads:
        return None
    in_turn = sorted(heads, key=_turn)
    first = in_turn[0]
    if moment - first.created_at > PATIENCE:
        return first
    return next((head for head in in_turn if head.model_id in resident), first)


def _turn(head: Head) -> tuple[bool, float, datetime, str]:
    served = head.last_claimed_at
    return served is not None, served.timestamp() if served else 0.0, head.created_at, head.generation_id
