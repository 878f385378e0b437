"""Bearer authentication."""

from typing import Final

from litestar.concurrency import sync_to_thread
from litestar.connection import ASGIConnection
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult

from server.accounts.errors import TokenInvalid
from server.http.errors import TokenMissing

SCHEME: Final = "bearer"
MAX_TOKEN_CHARS: Final = 4096  # session tokens of the existing platform have a few hundred


class BearerAuthentication(AbstractAuthenticationMiddleware):
    """Finds the caller behind the Authorization header. Routes marked `public` do without."""

    async def authenticate_request(self, connection: ASGIConnection) -> AuthenticationResult:  # type: ignore[type-arg]  # as the base declares it
        """Return the caller as the request's user.

        Raises:
            TokenMissing, TokenInvalid, TokenExpired: see there.

        """
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        token = token.strip()
        if scheme.lower() != SCHEME or not token:
            raise TokenMissing
        if len(token) > MAX_TOKEN_CHARS:
            raise TokenInvalid
        caller_of = connection.app.state.authentication.caller_of
        caller = await sync_to_thread(caller_of, token)  # far cheaper than anyio's
        return AuthenticationResult(user=caller, auth=None)
