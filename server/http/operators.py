"""The guard of the routes that only operators may call."""

from typing import Any

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler
from structlog.contextvars import bind_contextvars

from server.http.errors import OperatorsOnly


async def operators_only(connection: ASGIConnection[Any, Any, Any, Any], _handler: BaseRouteHandler) -> None:
    """Let operators pass. What the request logs from here on names the operator.

    Raises:
        OperatorsOnly: the caller is none.

    """
    if not connection.user.is_operator:
        raise OperatorsOnly
    bind_contextvars(operator=connection.user.user_id)
