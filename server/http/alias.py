"""The second prefix of the API, under which the existing front end knows it."""

from typing import Final

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Receive, Scope, Send

PREFIX: Final = "/api/avatar-creator"
ALIAS: Final = "/api/apps/avatar-creator"


class Alias:
    """Wraps the application: what is asked under the alias is answered as if asked under the prefix.

    So each route exists once: in the router, in the OpenAPI document and in the logs.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
        if scope["type"] == ScopeType.HTTP:
            head, alias, rest = scope["path"].partition(ALIAS)
            if alias and not head and rest[:1] in ("", "/"):
                scope["path"] = PREFIX + rest
        await self._app(scope, receive, send)
