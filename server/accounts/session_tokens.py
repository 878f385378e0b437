"""The session tokens of the existing platform: JWTs that it signs, and that this server only verifies."""

import re
from typing import Final

import jwt

from server.accounts.errors import IdentityInvalid, TokenExpired, TokenInvalid
from server.accounts.identity import Identity

ALGORITHM: Final = "HS256"
LEEWAY_S: Final = 5  # for clocks of two machines, of which both follow a time server

# Three parts in base64url without padding, of which the last has the 32 bytes of the signature.
_FORM: Final = re.compile(r"[\w-]+\.[\w-]+\.[\w-]{43}", re.ASCII)


def is_session_token(token: str) -> bool:
    """Return whether a token has the form of a JWT with a signature of HS256."""
    return _FORM.fullmatch(token) is not None


def verify(token: str, secret: str) -> Identity:
    """Return the user in whose name the platform signed a token.

    Raises:
        TokenExpired: its time is over.
        TokenInvalid: it is not the platform's, of another form, or does not hold yet.

    """
    try:
        claims = jwt.decode(
            token, secret, algorithms=[ALGORITHM], options={"require": ["exp"]}, leeway=LEEWAY_S
        )
    except jwt.ExpiredSignatureError:
        raise TokenExpired from None
    except jwt.PyJWTError:
        raise TokenInvalid from None
    if type(claims["exp"]) not in {int, float}:  # PyJWT takes a number in quotes, and true
        raise TokenInvalid
    try:
        return Identity.of(claims.get("userId"), claims.get("email"))
    except IdentityInvalid:
        raise TokenInvalid from None
