"""Which generation is drawn next: fair between users, weighted by tier, and sparing the worker swaps."""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Self

from catalog.tiers import Tier
from server.clock import now
from server.db.unit_of_work import Transaction
from server.generations.claims import Claim
from server.generations.lanes import Head, Lane
from server.generations.queue import PendingQueue
from server.generations.repository import Generations
from server.generations.tables import Generation
from server.generations.turns import TURN_S
from server.scheduling.swap_budget import SwapBudget
from server.settings import Settings

ROUND_S: Final = TURN_S / 2
"""How far apart the turns of one round are at most. So a higher tier goes ahead of those who came at most so
long before."""


@dataclass(frozen=True)
class Rules:
    """What an operator decides of the queue. max_drawn_per_user: None for no bound."""

    weights: Mapping[Tier, int] = field(default_factory=lambda: dict.fromkeys(Tier, 1))
    max_drawn_per_user: int | None = None

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """Return the rules of the settings."""
        return cls(settings.queue.weights, settings.queue.max_drawn_per_user)


class FairQueue:
    """The pending generations as a queue in which users take turns."""

    def __init__(self, tx: Transaction, rules: Rules | None = None) -> None:
        self._pending = PendingQueue(tx)
        self._generations = Generations(tx)
        self._rules = rules or Rules()

    def claim(
        self,
        worker: str,
        lease_s: float,
        resident: Collection[str],
        *,
        failed_over: bool | None = None,
        max_losses: int | None = None,
        swaps: SwapBudget | None = None,
    ) -> tuple[Claim, Generation] | None:
        """Give a worker the next pending generation and a lease on it; None if none waits.

        One whose row is locked is passed over: whoever has it may keep it for long. swaps: of this worker;
        without it, every generation that is resident goes first.
        """
        moment = now()
        heads = self._pending.heads(failed_over, max_losses)
        while (head := next_of(heads, resident, moment, self._rules.weights, swaps)) is not None:
            generation = self._generations.start_next(
                head.lane,
                worker,
                lease_s,
                moment,
                max_losses=max_losses,
                max_drawn_per_user=self._rules.max_drawn_per_user,
            )
            if generation is not None:
                if swaps is not None:
                    self._record(swaps, head, heads, resident, moment)
                return Claim(generation.id, generation.attempt, worker), generation
            heads = [other for other in heads if other.lane != head.lane]
        return None

    def companions(
        self, first: Generation, worker: str, lease_s: float, most: int
    ) -> list[tuple[Claim, Generation]]:
        """Give a worker up to so many generations to be drawn together with one that it has just claimed.

        They ride along: nobody is drawn later for it, so the turn alone decides among them, and the turns of
        their users' other generations stay. What has lost a worker before is drawn alone.
        """
        joined: list[tuple[Claim, Generation]] = []
        while first.batch_key and not first.losses and len(joined) < most:
            generation = self._generations.join(
                first, worker, lease_s, now(), max_drawn_per_user=self._rules.max_drawn_per_user
            )
            if generation is None:
                break
            joined.append((Claim(generation.id, generation.attempt, worker), generation))
        return joined

    def _record(
        self, swaps: SwapBudget, head: Head, heads: list[Head], resident: Collection[str], moment: datetime
    ) -> None:
        first = in_turn(heads, moment, self._rules.weights) or head
        waiting = {other.lane.model_id for other in heads}
        swaps.record_claim(head.lane.model_id, first.lane.model_id, waiting, resident)


def next_of(
    heads: Iterable[Head],
    resident: Collection[str],
    moment: datetime,
    weights: Mapping[Tier, int],
    swaps: SwapBudget | None = None,
) -> Head | None:
    """Choose the lane to claim from; None if nothing waits.

    It is the one whose turn it is, unless that needs a swap. A swap is made when nothing waits for the
    resident pipelines, when the budget allows it, or when it has passed over a model for too long.
    """
    heads = list(heads)
    if swaps is not None and (overdue := swaps.overdue()) is not None:
        due = in_turn((head for head in heads if head.lane.model_id == overdue), moment, weights)
        if due is not None:
            return due
    first = in_turn(heads, moment, weights)
    if first is None or first.lane.model_id in resident or (swaps is not None and swaps.allows()):
        return first
    return in_turn((head for head in heads if head.lane.model_id in resident), moment, weights) or first


def in_turn(heads: Iterable[Head], moment: datetime, weights: Mapping[Tier, int]) -> Head | None:
    """Choose by fairness alone: users take turns, and within a round the weight of the tier decides.

    The weight is multiplied by the wait, so that who waits twice as long may be of half the weight. Source:
    Kleinrock, "A delay dependent queue discipline", 1964.
    """
    heads = list(heads)
    if not heads:
        return None
    first = min(head.turn for head in heads)

    def claim_of(head: Head) -> tuple[float, int, float, Lane]:
        waited_s = max(0.0, (moment - head.created_at).total_seconds())
        weight = weights[head.lane.tier]
        return weight * waited_s, weight, -head.turn, head.lane

    return max((head for head in heads if head.turn < first + ROUND_S), key=claim_of)
