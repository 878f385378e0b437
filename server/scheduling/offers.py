"""What the catalogue offers a caller, and what a generation would cost before it is accepted."""

from dataclasses import dataclass
from typing import Final

from catalog.entries import Entry
from catalog.selection import Choice, price
from server.caller import Caller
from server.credits.repository import Ledger
from server.db.unit_of_work import UnitOfWork
from server.entries.repository import Entries
from server.generations.quotes import Quote
from server.generations.submission import GenerationRequest, Limits, examine
from server.scheduling.drawing_times import DrawingTime, drawing_time, waiting_time_s

DISABLED: Final = "The operator has disabled this model"


@dataclass(frozen=True)
class Offer:
    """An entry as one caller can use it. credits: its price for the caller."""

    entry: Entry
    credits: int
    unusable_because: str | None
    drawing_time: DrawingTime | None


@dataclass(frozen=True)
class DryRun:
    """What a generation would be, if it were submitted now. wait_s: None if no worker is ready."""

    choice: Choice
    quote: Quote
    balance: int
    wait_s: float | None
    drawing_time: DrawingTime | None


def list_all(uow: UnitOfWork, caller: Caller) -> list[Offer]:
    """Return every entry of the catalogue as an offer to the caller, by tier, then price."""
    with uow.read() as tx:
        entries = sorted(Entries(tx).all(), key=lambda one: (one.tier.rank, one.credit_cost, one.key))
        return [
            Offer(
                entry,
                price(entry, caller.tier),
                _unusable_because(entry, caller),
                drawing_time(tx, entry, entry.width_px, entry.height_px),
            )
            for entry in entries
        ]


def dry_run(uow: UnitOfWork, caller: Caller, request: GenerationRequest, limits: Limits) -> DryRun:
    """Return what a generation would be, without holding or queueing anything.

    Raises:
        DomainError: as `submission.accept` would, except for a balance that is too small.

    """
    with uow.read() as tx:
        choice = examine(tx, caller, request, limits)
        quote = Quote(caller.user_id, choice.entry.key, choice.width_px, choice.height_px, choice.credits)
        return DryRun(
            choice,
            quote,
            Ledger(tx).available(caller.user_id),
            waiting_time_s(tx),
            drawing_time(tx, choice.entry, choice.width_px, choice.height_px),
        )


def _unusable_because(entry: Entry, caller: Caller) -> str | None:
    if not entry.enabled:
        return DISABLED
    if not caller.tier.reaches(entry.tier):
        return f"It needs the {entry.tier} tier; this account is {caller.tier}"
    return None
