"""Users and the API keys that this server issues, in the database."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import uuid4

from sqlalchemy import bindparam, select, update

from catalog.tiers import Tier
from server.accounts.errors import TokenInvalid, UserExists, UserUnknown
from server.accounts.tables import ApiKey, User
from server.caller import Caller
from server.clock import now
from server.db.unit_of_work import Repository

KEY_PREFIX: Final = "ac_"
SECRET_BYTES: Final = 32  # 256 random bits cannot be guessed, so a plain digest suffices

_USERS: Final = User.core()
_KEYS: Final = ApiKey.core()
_BEARER: Final = (
    select(_USERS.c.id, _USERS.c.tier)
    .join(_KEYS, _KEYS.c.user_id == _USERS.c.id)
    .where(_KEYS.c.digest == bindparam("of_digest"), _KEYS.c.revoked_at.is_(None))
)


@dataclass(frozen=True)
class MintedKey:
    """A new API key. The token is shown once and stored nowhere."""

    id: str
    prefix: str
    token: str

    def __repr__(self) -> str:
        return f"MintedKey(prefix={self.prefix!r})"


class Users(Repository):
    """Reads and changes users and keys."""

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

    def record_claim(self, user_id: str, moment: datetime) -> None:
        """Record when a worker last claimed work of a user."""
        self._session.execute(update(User).where(User.id == user_id).values(last_claimed_at=moment))

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
