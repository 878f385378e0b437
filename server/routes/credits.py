"""The routes of credits."""

from typing import Final, Literal, Self

from litestar import Controller, get
from litestar.di import NamedDependency

from server.credits import service
from server.credits.history import HistoryEntry
from server.http.bodies import View, WireTime
from server.http.request import ApiRequest
from server.http.services import Services

HISTORY: Final = 50  # Source: the contract, section 3


class HistoryView(View):
    """One change of a user's credits. The amount is negative if it was spent."""

    id: str
    user_id: str
    amount: int
    balance: int
    type: str
    description: str
    reference_id: str
    reference_type: str
    payment_id: str | None
    created_at: WireTime

    @classmethod
    def of(cls, entry: HistoryEntry) -> Self:
        """Return an entry of the history."""
        return cls(
            id=str(entry.id),
            user_id=entry.user_id,
            amount=entry.amount,
            balance=entry.balance,
            type=entry.kind.value,
            description=entry.description,
            reference_id=entry.reference_id,
            reference_type=entry.reference_type,
            payment_id=entry.payment_id,
            created_at=entry.created_at,
        )


class Balance(View):
    """What the caller can spend."""

    balance: int


class BalanceAnswer(View):
    """The caller's balance."""

    success: Literal[True] = True
    data: Balance


class CreditController(Controller):
    """What a user can spend, and how it came to that."""

    path = "/api/credits"
    tags = ("credits",)

    @get("/balance", sync_to_thread=True)
    def balance(self, request: ApiRequest, services: NamedDependency[Services]) -> BalanceAnswer:
        """Return the credits that the caller can spend: held ones are not among them."""
        available = service.balance(services.uow, request.user)
        return BalanceAnswer(data=Balance(balance=available))

    @get("/history", sync_to_thread=True)
    def history(self, request: ApiRequest, services: NamedDependency[Services]) -> list[HistoryView]:
        """List the caller's last 50 changes of credits, newest first: a bare array, as clients want it."""
        return [HistoryView.of(entry) for entry in service.history(services.uow, request.user, HISTORY)]
