"""A user's credit history, as the existing clients show it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

GRANT: Final = "grant"
"""The reference type of credits that were given."""
PAYMENT: Final = "payment"
"""The reference type of credits that were bought; the reference is the payment's id."""


class HistoryKind(StrEnum):
    """What an entry of the history was."""

    PURCHASE = "purchase"
    BONUS = "bonus"
    USAGE = "usage"
    REFUND = "refund"


@dataclass(frozen=True)
class HistoryEntry:
    """One change of what a user can spend.

    amount: negative if it was spent. balance: what could be spent afterwards.
    """

    id: int
    user_id: str
    kind: HistoryKind
    amount: int
    balance: int
    description: str
    reference_type: str
    reference_id: str
    created_at: datetime

    @property
    def payment_id(self) -> str | None:
        """The payment behind a purchase."""
        return self.reference_id if self.kind is HistoryKind.PURCHASE else None


def kind_of(transfer_kind: str, reference_type: str) -> HistoryKind:
    """Return what a transfer is to its user: a hold is a usage, and what comes back of it a refund."""
    match transfer_kind:
        case "grant" if reference_type == PAYMENT:
            return HistoryKind.PURCHASE
        case "grant":
            return HistoryKind.BONUS
        case "capture" | "void":
            return HistoryKind.REFUND
        case _:
            return HistoryKind.USAGE
