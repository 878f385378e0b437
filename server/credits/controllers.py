"""The routes of credits."""

from typing import Any

from litestar import Controller, get
from litestar.di import NamedDependency

from server.auth.users import Caller
from server.db.unit_of_work import UnitOfWork


class CreditController(Controller):
    """What a user can spend."""

    path = "/api/credits"
    tags = ("credits",)

    @get("/balance", sync_to_thread=True)
    def balance(self, caller: NamedDependency[Caller], uow: NamedDependency[UnitOfWork]) -> dict[str, Any]:
        """Return the credits that the caller can spend: held ones are not among them."""
        with uow.read() as tx:
            available = tx.ledger.available(caller.user_id)
        return {"success": True, "data": {"balance": available}}
