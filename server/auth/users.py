"""Users and the API keys that this server issues."""

import hashlib
import secrets
from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from catalog.tiers import Tier
from server.clock import now
from server.db.tables import ApiKey, User
from server.errors import TokenInvalid

KEY_PREFIX: Final = "ac_"
SECRET_BYTES: Final = 32  # 256 random bits: a plain digest suffices, guessing is hopeless

_USERS: Final = User.core()
_KEYS: Final = ApiKey.core()
_BEARER: Final = (
    select(_USERS.c.id, _USERS.c.tier)
    .join(_KEYS, _KEYS.c.user_id == _USERS.c.id)
    .where(_KEYS.c.digest == bindparam("of_digest"), _KEYS.c.revoked_at.is_(None))
)


class UserExists(ValueError):
    """A user of this id is there already."""

    def __init__(self, user_id: str) -> None:
        super().__init__(f"A user with the id {user_id} exists already")
        self.user_id = user_id


class UserUnknown(LookupError):
    """No user has this id or email."""

    def __init__(self, who: str) -> None:
        super().__init__(f"No user has the id or email {who}")
        self.who = who


@dataclass(frozen=True)
class Caller:
    """The user behind a request."""

    user_id: str
    tier: Tier


@dataclass(frozen=True)
class MintedKey:
    """A new API key. The token is shown once and kept nowhere."""

    id: str
    prefix: str
    token: str

    def __repr__(self) -> str:
        return f"MintedKey(prefix={self.prefix!r})"


class Users:
    """Reads and changes users and keys inside the caller's transaction."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def add(self, email: str | None, tier: Tier, user_id: str | None = None) -> User:
        """Add a user; the id may be the one of the existing platform.

        Raises:
            UserExists: the id is taken.

        """
        user = User(id=user_id or str(uuid4()), email=email, tier=tier.value)
        if self._session.get(User, user.id) is not None:
            raise UserExists(user.id)
        self._session.add(user)
        self._session.flush()
        return user

    def find(self, who: str) -> User:
        """Return the user with this id, or else the one with this email.

        Raises:
            UserUnknown: there is none.

        """
        user = self._session.get(User, who) or self._session.scalar(
            select(User).where(User.email == who).order_by(User.created_at).limit(1)
        )
        if user is None:
            raise UserUnknown(who)
        return user

    def mint_key(self, user_id: str, label: str) -> MintedKey:
        """Issue an API key to a user."""
        secret = secrets.token_urlsafe(SECRET_BYTES)
        token = KEY_PREFIX + secret
        key = ApiKey(id=str(uuid4()), user_id=user_id, label=label, prefix=token[:11], digest=_digest(token))
        self._session.add(key)
        self._session.flush()
        return MintedKey(key.id, key.prefix, token)

    def revoke_keys(self, user_id: str, *, label: str | None = None, prefix: str | None = None) -> int:
        """Revoke a user's valid keys, of one label or prefix if given; return how many these were."""
        statement = update(ApiKey).where(ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None))
        if label is not None:
            statement = statement.where(ApiKey.label == label)
        if prefix is not None:
            statement = statement.where(ApiKey.prefix == prefix)
        revoked = self._session.scalars(statement.values(revoked_at=now()).returning(ApiKey.id))
        return len(revoked.all())

    def authenticate(self, token: str) -> Caller:
        """Return the user who owns a token.

        Raises:
            TokenInvalid: the token is unknown or revoked.

        """
        row = self._session.connection().execute(_BEARER, {"of_digest": _digest(token)}).one_or_none()
        if row is None:
            raise TokenInvalid
        return Caller(row.id, Tier(row.tier))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
