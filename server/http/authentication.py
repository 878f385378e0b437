"""Authentication by a token: as a bearer, or as the API of another dialect sends it."""

import base64
import binascii
from typing import Final

from litestar.concurrency import sync_to_thread
from litestar.connection import ASGIConnection
from litestar.middleware import AbstractAuthenticationMiddleware, AuthenticationResult

from server.accounts.errors import TokenInvalid
from server.http.errors import TokenMissing

BEARER: Final = "bearer"
KEY: Final = "key"
"""As clients of fal send it."""
BASIC: Final = "basic"
"""As clients of A1111 send it: the password is the token."""
SCHEME: Final = "scheme"
"""The handler option that names the scheme of a route."""
MAX_TOKEN_CHARS: Final = 4096  # session tokens of the existing platform have a few hundred


class BearerAuthentication(AbstractAuthenticationMiddleware):
    """Finds the caller behind the Authorization header. Routes marked `public` do without.

    A bearer token is taken everywhere, and the scheme of a route's dialect there as well.
    """

    async def authenticate_request(self, connection: ASGIConnection) -> AuthenticationResult:  # type: ignore[type-arg]  # as the base declares it
        """Return the caller as the request's user.

        Raises:
            TokenMissing, TokenInvalid, TokenExpired: see there.

        """
        scheme, _, token = connection.headers.get("authorization", "").partition(" ")
        scheme, token = scheme.lower(), token.strip()
        if scheme not in {BEARER, connection.route_handler.opt.get(SCHEME)} or not token:
            raise TokenMissing
        if scheme == BASIC:
            token = _password(token)
        if len(token) > MAX_TOKEN_CHARS:
            raise TokenInvalid
        caller_of = connection.app.state.authentication.caller_of
        caller = await sync_to_thread(caller_of, token)  # far cheaper than anyio's
        return AuthenticationResult(user=caller, auth=None)


def _password(credentials: str) -> str:
    """Return the password of basic authentication.

    Raises:
        TokenInvalid: they are not valid.

    """
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError) as error:
        raise TokenInvalid from error
