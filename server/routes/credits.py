"""The routes of credits."""

from typing import Any

from litestar import Controller, get
from litestar.di import NamedDependency

from server.credits import service
from server.http.request import ApiRequest
from server.http.services import Services


class CreditController(Controller):
    """What a user can spend."""

    path = "/api/credits"
    tags = ("credits",)

    @get("/balance", sync_to_thread=True)
    def balance(self, request: ApiRequest, services: NamedDependency[Services]) -> dict[str, Any]:
        """Return the credits that the caller can spend: held ones are not among them."""
        available = service.balance(services.uow, request.user)
        return {"success": True, "data": {"balance": available}}
