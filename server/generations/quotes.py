"""Quotes: the price of a dry run, binding for a minute.

A quote is signed and not stored, so asking for one writes nothing. PyJWT signs it, as it is there for
sessions; itsdangerous would do the same.
"""

import hashlib
import hmac
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Final

import jwt

from server.clock import now
from server.errors import DomainError

BINDING: Final = timedelta(seconds=60)
ALGORITHM: Final = "HS256"


@dataclass
class QuoteRefused(DomainError):
    """The quote does not apply to the request."""

    cause: str

    def __str__(self) -> str:
        return f"quoteId {self.cause}. Ask for a new one with dryRun=true"


@dataclass(frozen=True)
class Quote:
    """What a user was promised: this entry at this size for these credits."""

    user_id: str
    entry_key: str
    width_px: int
    height_px: int
    credits: int


class Quotes:
    """Signs quotes and reads them, with a secret that all processes share."""

    def __init__(self, secret: bytes) -> None:
        self._key = hmac.new(secret, b"quotes", hashlib.sha256).digest()  # signs nothing but quotes

    def sign(self, quote: Quote) -> tuple[str, datetime]:
        """Return the id of a quote, and until when it binds."""
        expires_at = (now() + BINDING).replace(microsecond=0)
        return jwt.encode(asdict(quote) | {"exp": expires_at}, self._key, ALGORITHM), expires_at

    def read(self, quote_id: str, user_id: str) -> Quote:
        """Return the quote of an id.

        Raises:
            QuoteRefused: it is not this server's or this user's, or has expired.

        """
        try:
            signed = jwt.decode(quote_id, self._key, [ALGORITHM], options={"require": ["exp"]})
        except jwt.ExpiredSignatureError as error:
            raise QuoteRefused("has expired") from error
        except jwt.InvalidTokenError as error:
            raise QuoteRefused("is unknown") from error
        del signed["exp"]
        quote = Quote(**signed)
        if quote.user_id != user_id:
            raise QuoteRefused("is unknown")
        return quote
