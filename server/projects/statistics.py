"""What a user has, how much of it is used, and what more would cost."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from catalog.selection import lowest_price
from catalog.tiers import Tier
from server.avatars.repository import Avatars
from server.avatars.tables import Avatar
from server.caller import Caller
from server.clock import now
from server.credits.repository import Ledger
from server.db.unit_of_work import UnitOfWork
from server.entries.repository import Entries
from server.projects.repository import Projects

RECENT: Final = timedelta(days=7)
TOP: Final = 5
UPLOAD_CREDITS, PRESET_CREDITS, REFERENCE_CREDITS = 2, 8, 12  # Source: the contract, section 3


@dataclass(frozen=True)
class Costs:
    """What a user pays in credits. generate_avatar: the lowest price; None if no entry is within reach."""

    generate_avatar: int | None
    from_preset: int
    from_reference: int
    upload_avatar: int = UPLOAD_CREDITS
    edit_persona: int = 0


@dataclass(frozen=True)
class Statistics:
    """A user's counts, credits and prices. most_used: without avatars that were never used."""

    avatars: int
    projects: int
    recent_uploads: int
    uses: int
    most_used: list[Avatar]
    balance: int
    unlimited: bool
    costs: Costs

    @property
    def mean_uses(self) -> float:
        """The uses of an avatar on average, rounded to two places; 0 without avatars."""
        return round(self.uses / self.avatars, 2) if self.avatars else 0.0


def statistics(uow: UnitOfWork, caller: Caller) -> Statistics:
    """Return what the caller has and what more would cost."""
    with uow.read() as tx:
        totals = Avatars(tx).totals(caller.user_id, now() - RECENT)
        return Statistics(
            avatars=totals.avatars,
            projects=Projects(tx).count(caller.user_id),
            recent_uploads=totals.recent_uploads,
            uses=totals.uses,
            most_used=Avatars(tx).most_used(caller.user_id, TOP),
            balance=Ledger(tx).available(caller.user_id),
            unlimited=caller.tier is Tier.ENTERPRISE,
            costs=_costs(lowest_price(Entries(tx).all(), caller.tier), caller.tier),
        )


def _costs(cheapest: int | None, tier: Tier) -> Costs:
    if tier is Tier.ENTERPRISE:
        return Costs(cheapest, from_preset=0, from_reference=0)
    return Costs(cheapest, PRESET_CREDITS, REFERENCE_CREDITS)
