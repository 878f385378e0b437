"""Accepting a generation."""

import secrets
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final
from uuid import uuid4

from catalog.entries import Entry
from catalog.orders import Order
from catalog.prompts import compose
from catalog.selection import Choice, Wish, choose
from catalog.tiers import Tier
from catalog.traits import Traits
from server.accounts.repository import Users
from server.caller import Caller
from server.clock import now
from server.credits.repository import Ledger
from server.db.unit_of_work import Transaction, UnitOfWork
from server.entries.repository import Entries
from server.errors import DomainError
from server.events.repository import Events
from server.events.tables import Kind
from server.generations.queue import PendingQueue, Room
from server.generations.quotes import Quote, QuoteRefused
from server.generations.repository import Generations
from server.generations.states import Status
from server.generations.tables import Generation, Source
from server.generations.turns import Standing, turn_of
from server.projects.repository import Projects
from server.spending.repository import Spending

KEPT_FOR_NEWCOMERS: Final = 10
"""One place of the queue in so many."""

Notify = Callable[[str], object]
"""Is given the id of a generation that was queued, to wake a worker. It may fail, but never raises."""


@dataclass
class QueueFull(DomainError):
    """So many generations wait that a new one would not be drawn in time."""

    depth: int

    retry_after_s = 30

    def __str__(self) -> str:
        return f"{self.depth} generations are waiting. Please try again later"


@dataclass
class TooManyUnfinished(DomainError):
    """So many generations of the user wait or are drawn that no other is accepted until one has ended."""

    max_per_user: int

    retry_after_s = 30

    def __str__(self) -> str:
        return (
            f"At most {self.max_per_user} of your generations may wait or be drawn at a time. "
            "Please try again when one has ended"
        )


@dataclass(frozen=True)
class GenerationRequest:
    """What a user asks for, independent of the API by which it came.

    prompt: the user's own words. seed: None draws one. quote: binds entry, size and price.
    """

    project_id: str
    name: str
    prompt: str
    traits: Traits = field(default_factory=Traits)
    wish: Wish = field(default_factory=Wish)
    seed: int | None = None
    quote: Quote | None = None
    source: Source = Source.TEXT_TO_IMAGE


@dataclass(frozen=True)
class Limits:
    """What bounds the acceptance of generations.

    max_depth: pending generations. max_per_user: a user's generations that are pending or processing.
    budget_microusd: the day's spending at hosted providers. None: no limit.
    """

    max_depth: int
    budget_microusd: int | None = None
    max_per_user: int | None = None


@dataclass(frozen=True)
class Submitted:
    """A generation that was accepted, what it holds and what is left."""

    generation: Generation
    credits: int
    balance: int


def submit(
    uow: UnitOfWork, notify: Notify, caller: Caller, request: GenerationRequest, limits: Limits
) -> Submitted:
    """Accept one generation and notify a worker. The wake-up may be lost: the pending row is the queue.

    Raises:
        DomainError: see `accept`.

    """
    with uow.begin() as tx:
        submitted = accept(tx, caller, request, limits)
    notify(submitted.generation.id)
    return submitted


def accept(tx: Transaction, caller: Caller, request: GenerationRequest, limits: Limits) -> Submitted:
    """Accept one generation: choose its entry, hold its price, queue it. All or nothing.

    After the commit, the caller notifies a worker.

    Raises:
        NotFound: the project.
        UnknownEntry, EntryBeyondTier, NoEntryAvailable, SizeRejected: see `catalog.selection`.
        QuoteRefused, QueueFull, TooManyUnfinished, BudgetSpent, InsufficientCredits: nothing was queued and
            nothing held.

    """
    choice = _chosen(tx, caller, request)
    Users(tx).lock(caller.user_id)  # of two submissions at once, the second sees the first one's turn
    room = _checked_room(tx, caller, choice, limits)
    generation = _pending(caller, request, choice, room.standing)
    Generations(tx).add(generation)
    description = f"Avatar generation: {choice.entry.name}"
    balance = Ledger(tx).hold(caller.user_id, choice.credits, generation.id, description)
    most = limits.max_per_user
    if most is not None and room.unfinished >= most:
        raise TooManyUnfinished(most)
    Events(tx).append(generation.id, Kind.QUEUED, entry=choice.entry.key, credits=choice.credits)
    return Submitted(generation, choice.credits, balance)


def examine(tx: Transaction, caller: Caller, request: GenerationRequest, limits: Limits) -> Choice:
    """Return what a request would be given, changing nothing.

    Raises:
        NotFound, UnknownEntry, EntryBeyondTier, NoEntryAvailable, SizeRejected, QuoteRefused, QueueFull,
            BudgetSpent: as `accept` does.

    """
    choice = _chosen(tx, caller, request)
    _checked_room(tx, caller, choice, limits)
    return choice


def _chosen(tx: Transaction, caller: Caller, request: GenerationRequest) -> Choice:
    Projects(tx).require(caller.user_id, request.project_id)
    return _choice(Entries(tx).all(), caller.tier, request)


def _checked_room(tx: Transaction, caller: Caller, choice: Choice, limits: Limits) -> Room:
    """Read the user's room in the queue, and check that there is any, and that the day's budget is not spent.

    The last tenth of the places is for users of whom nothing waits or is drawn. So no number of users who
    wait with many, though each stays within max_per_user, shuts out a newcomer.

    Raises:
        QueueFull: there is no place, or none for this user.
        BudgetSpent: see there.

    """
    room = PendingQueue(tx).room(caller.user_id, choice.entry.model_id)
    most = limits.max_depth
    crowded = room.depth >= most - most // KEPT_FOR_NEWCOMERS
    if room.depth >= most or (crowded and room.unfinished):
        raise QueueFull(room.depth)
    Spending(tx).check(limits.budget_microusd)
    return room


def _choice(entries: Iterable[Entry], tier: Tier, request: GenerationRequest) -> Choice:
    if (quote := request.quote) is None:
        return choose(entries, tier, request.wish)
    wished = request.wish.model_key or quote.entry_key
    choice = choose(entries, tier, replace(request.wish, model_key=wished))
    quoted = quote.entry_key, quote.width_px, quote.height_px
    if (choice.entry.key, choice.width_px, choice.height_px) != quoted:
        raise QuoteRefused("is for another model or size")
    return replace(choice, credits=quote.credits)


def _pending(caller: Caller, request: GenerationRequest, choice: Choice, standing: Standing) -> Generation:
    entry = choice.entry
    order = Order.of_entry(
        entry,
        compose(request.prompt, request.traits, entry.quality_terms),
        seed=secrets.randbelow(2**32) if request.seed is None else request.seed,
        size_px=(choice.width_px, choice.height_px),
    )
    moment = now()
    return Generation(
        id=str(uuid4()),
        user_id=caller.user_id,
        project_id=request.project_id,
        status=Status.PENDING.value,
        prompt=request.prompt,
        entry_key=entry.key,
        entry_name=entry.name,
        model_id=order.model_id,
        credits=choice.credits,
        order=order,
        avatar_name=request.name,
        source_type=request.source.value,
        traits=request.traits,
        attempt=0,
        losses=0,
        failed_over=False,
        tier=caller.tier.value,
        turn=turn_of(standing, moment.timestamp()),
        batch_key=order.batch_key,
        companion=False,
        created_at=moment,
        updated_at=moment,
    )
