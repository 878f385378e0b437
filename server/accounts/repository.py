"""Users and the API keys that this server issues, in the database."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final
from uuid import uuid4

from sqlalchemy import bindparam, delete, func, or_, select, update

from catalog.tiers import Tier
from server.accounts.errors import (
    CodeInvalid,
    EmailTaken,
    TokenExpired,
    TokenInvalid,
    UserAmbiguous,
    UserExists,
    UserUnknown,
)
from server.accounts.identity import Identity
from server.accounts.tables import ApiKey, SignInCode, User
from server.caller import Caller
from server.clock import now
from server.db.base import upsert
from server.db.unit_of_work import Repository

KEY_PREFIX: Final = "ac_"
PREFIX_CHARS: Final = 11
"""By how many of its first characters a key is known to its user and to operators."""
SECRET_BYTES: Final = 32  # 256 random bits cannot be guessed, so a plain digest suffices
BY_ID: Final = "id:"
USE_PRECISION: Final = timedelta(minutes=1)

_USERS: Final = User.core()
_KEYS: Final = ApiKey.core()
_KEY_HOLDER: Final = (
    select(_USERS.c.id, _USERS.c.tier, _USERS.c.is_operator, _KEYS.c.id.label("key_id"), _KEYS.c.expires_at)
    .join(_KEYS, _KEYS.c.user_id == _USERS.c.id)
    .where(
        _KEYS.c.digest == bindparam("of_digest"), _KEYS.c.revoked_at.is_(None), _USERS.c.deleted_at.is_(None)
    )
)
_VISITOR: Final = select(_USERS.c.tier, _USERS.c.is_operator, _USERS.c.deleted_at).where(
    _USERS.c.id == bindparam("of_user")
)
# FOR NO KEY UPDATE, so that transactions whose rows refer to the user do not wait.
_LOCK: Final = select(_USERS.c.id).where(_USERS.c.id == bindparam("of_user")).with_for_update(key_share=True)
_USED: Final = (
    update(_KEYS)
    .where(
        _KEYS.c.id == bindparam("of_key"),
        or_(_KEYS.c.last_used_at.is_(None), _KEYS.c.last_used_at <= bindparam("before")),
    )
    .values(last_used_at=bindparam("used_at"))
)


@dataclass(frozen=True)
class KeyHolder:
    """The owner of an API key, and the key's id."""

    caller: Caller
    key_id: str


@dataclass(frozen=True)
class MintedKey:
    """A new API key. The token is shown once and stored nowhere."""

    stored: ApiKey
    token: str

    def __repr__(self) -> str:
        return f"MintedKey(prefix={self.stored.prefix!r})"


class Users(Repository):
    """Reads and changes users and keys."""

    def insert(self, identity: Identity, tier: Tier) -> bool:
        """Add a user; return False, and change nothing, if the id or the email is taken."""
        row = {"id": identity.user_id, "email": identity.email, "tier": tier.value}
        statement = upsert(self._session, _USERS).values(row).on_conflict_do_nothing()
        return self._session.scalar(statement.returning(_USERS.c.id)) is not None

    def add(self, email: str | None, tier: Tier, user_id: str | None = None) -> User:
        """Add a user; the id may be the one of the existing platform.

        Raises:
            IdentityInvalid: the id or the email breaks its rule.
            UserExists: the id is taken.
            EmailTaken: another user has the email.

        """
        identity = Identity.of(str(uuid4()) if user_id is None else user_id, email)
        added = self.insert(identity, tier)
        user = self._session.get(User, identity.user_id)
        if user is None:
            raise EmailTaken(identity.email or "")
        if not added:
            raise UserExists(user.id)
        return user

    def find(self, who: str, *, deleted: bool = False) -> User:
        """Return the user with this id or this email; `id:ada` is the id alone. A deleted one has an id only.

        deleted: whether a deleted user is found too.

        Raises:
            UserUnknown: there is none.
            UserAmbiguous: the id is one user's, and the email another's.

        """
        if who.startswith(BY_ID):
            named = select(User).where(or_(User.id == who, User.id == who.removeprefix(BY_ID)))
        else:
            named = select(User).where(or_(User.id == who, User.email == who.strip().lower()))
        if not deleted:
            named = named.where(User.deleted_at.is_(None))
        found = self._session.scalars(named.order_by(User.id)).all()
        if not found:
            raise UserUnknown(who)
        if len(found) > 1:
            raise UserAmbiguous(who, tuple(user.id for user in found))
        return found[0]

    def newest(self, limit: int, beginning: str = "") -> list[User]:
        """Return the newest users that were not deleted, newest first.

        beginning: of their id or email.
        """
        newest = select(User).where(User.deleted_at.is_(None))
        if beginning:
            of_email = User.email.startswith(beginning.lower(), autoescape=True)
            newest = newest.where(or_(User.id.startswith(beginning, autoescape=True), of_email))
        return list(
            self._session.scalars(newest.order_by(User.created_at.desc(), User.id.desc()).limit(limit))
        )

    def any(self) -> bool:
        """Return whether there is a user, deleted ones included."""
        return self._session.scalar(select(User.id).limit(1)) is not None

    def visitor(self, user_id: str) -> Caller:
        """Return the user in whose name a session token was signed.

        Raises:
            UserUnknown: there never was one of this id.
            TokenInvalid: the user was deleted.

        """
        row = self._session.connection().execute(_VISITOR, {"of_user": user_id}).one_or_none()
        if row is None:
            raise UserUnknown(user_id)
        if row.deleted_at is not None:
            raise TokenInvalid
        return Caller(user_id, Tier(row.tier), row.is_operator)

    def delete(self, user: User) -> None:
        """Leave a tombstone of a user: the id stays taken, email and codes are forgotten, keys revoked."""
        user.email = None
        user.is_operator = False
        user.deleted_at = user.deleted_at or now()
        self.revoke_keys(user.id)
        self._session.execute(delete(SignInCode).where(SignInCode.user_id == user.id))

    def key_holder(self, token: str) -> KeyHolder:
        """Return the owner of an API key.

        Raises:
            TokenInvalid: the key is unknown or revoked.
            TokenExpired: it was valid until its expiry.

        """
        row = self._session.connection().execute(_KEY_HOLDER, {"of_digest": _digest(token)}).one_or_none()
        if row is None:
            raise TokenInvalid
        if row.expires_at is not None and row.expires_at <= now():
            raise TokenExpired
        return KeyHolder(Caller(row.id, Tier(row.tier), row.is_operator), row.key_id)

    def lock(self, user_id: str) -> None:
        """Let other transactions that lock this user wait until this one ends."""
        connection = self._session.connection()
        if connection.dialect.name != "sqlite":  # where every transaction that writes has waited already
            connection.execute(_LOCK, {"of_user": user_id})

    def chosen_entry(self, user_id: str) -> str | None:
        """Return the key of the entry that a user's client has chosen; None if it has not."""
        return self._session.scalar(select(User.chosen_entry).where(User.id == user_id))

    def choose_entry(self, user_id: str, key: str) -> None:
        """Remember the entry that a user's client has chosen."""
        self._session.execute(update(User).where(User.id == user_id).values(chosen_entry=key))

    def mint_key(self, user_id: str, label: str, expires_at: datetime | None = None) -> MintedKey:
        """Issue an API key to a user."""
        secret = secrets.token_urlsafe(SECRET_BYTES)
        token = KEY_PREFIX + secret
        key = ApiKey(
            id=str(uuid4()),
            user_id=user_id,
            label=label,
            prefix=token[:PREFIX_CHARS],
            digest=_digest(token),
            expires_at=expires_at,
        )
        self._session.add(key)
        self._session.flush()
        return MintedKey(key, token)

    def keys_of(self, user_id: str) -> list[ApiKey]:
        """Return a user's keys that were not revoked, newest first; expired ones too."""
        found = self._session.scalars(
            select(ApiKey)
            .where(ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None))
            .order_by(ApiKey.created_at.desc(), ApiKey.id.desc())
        )
        return list(found)

    def valid_keys(self, user_id: str) -> int:
        """Return how many valid keys a user has."""
        valid = or_(ApiKey.expires_at.is_(None), ApiKey.expires_at > now())
        counted = select(func.count()).where(ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None), valid)
        return self._session.scalar(counted) or 0

    def revoke_keys(
        self,
        user_id: str,
        *,
        key_id: str | None = None,
        label: str | None = None,
        prefix: str | None = None,
    ) -> int:
        """Revoke a user's keys, of one id, label or prefix if given; return how many these were.

        prefix: or the whole key.
        """
        statement = update(ApiKey).where(ApiKey.user_id == user_id, ApiKey.revoked_at.is_(None))
        if prefix is not None and len(prefix) > PREFIX_CHARS:
            statement, prefix = statement.where(ApiKey.digest == _digest(prefix)), None
        for column, value in ((ApiKey.id, key_id), (ApiKey.label, label), (ApiKey.prefix, prefix)):
            if value is not None:
                statement = statement.where(column == value)
        revoked = self._session.scalars(statement.values(revoked_at=now()).returning(ApiKey.id))
        return len(revoked.all())

    def revoke_all_but_newest(self, user_id: str, label: str, kept: int) -> None:
        """Revoke a user's keys of a label, but for so many of the newest."""
        newest = (
            select(ApiKey.id)
            .where(ApiKey.user_id == user_id, ApiKey.label == label, ApiKey.revoked_at.is_(None))
            .order_by(ApiKey.created_at.desc(), ApiKey.id.desc())
            .offset(kept)
        )
        for key_id in self._session.scalars(newest).all():
            self.revoke_keys(user_id, key_id=key_id)

    def add_code(self, user_id: str, lifetime: timedelta) -> str:
        """Return a new sign-in code of a user, and delete what has expired of any user's."""
        code = secrets.token_urlsafe(SECRET_BYTES)
        self._session.execute(delete(SignInCode).where(SignInCode.expires_at <= now()))
        self._session.add(SignInCode(digest=_digest(code), user_id=user_id, expires_at=now() + lifetime))
        self._session.flush()
        return code

    def use_code(self, code: str) -> str:
        """Delete a sign-in code and return whose it was. Of two transactions, one finds it.

        Raises:
            CodeInvalid: it is unknown, was used, or has expired.

        """
        used = delete(SignInCode).where(SignInCode.digest == _digest(code), SignInCode.expires_at > now())
        user_id: str | None = self._session.scalar(used.returning(SignInCode.user_id))
        if user_id is None:
            raise CodeInvalid
        return user_id

    def record_uses(self, moments: Mapping[str, datetime]) -> None:
        """Record when keys were last used, each at most once in USE_PRECISION."""
        uses = [
            {"of_key": key_id, "used_at": moment, "before": moment - USE_PRECISION}
            for key_id, moment in sorted(moments.items())  # in one order: two processes then never deadlock
        ]
        self._session.connection().execute(_USED, uses)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
