"""The use cases of credits."""

from dataclasses import dataclass

from server.caller import Caller
from server.credits.history import HistoryEntry
from server.credits.repository import Drift, Ledger
from server.db.unit_of_work import UnitOfWork


@dataclass(frozen=True)
class Audit:
    """The result of adding up the ledger and comparing it with the accounts."""

    postings_sum: int
    drifts: list[Drift]

    @property
    def passed(self) -> bool:
        """Whether no credit was made or lost."""
        return not self.postings_sum and not self.drifts


def balance(uow: UnitOfWork, caller: Caller) -> int:
    """Return the credits that the caller can spend: held ones are not among them."""
    with uow.read() as tx:
        return Ledger(tx).available(caller.user_id)


def history(uow: UnitOfWork, caller: Caller, limit: int) -> list[HistoryEntry]:
    """Return the caller's last changes of credits, newest first."""
    with uow.read() as tx:
        return Ledger(tx).history(caller.user_id, limit)


def audit(uow: UnitOfWork) -> Audit:
    """Add up the whole ledger and compare every account with it."""
    with uow.read() as tx:
        return Audit(Ledger(tx).sum_of_postings(), Ledger(tx).drifts())
