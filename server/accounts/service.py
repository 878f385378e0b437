"""The use cases of operators: what they do for a user.

`who` is a user's id or email.
"""

from dataclasses import dataclass
from typing import Final

from catalog.tiers import Tier
from server.accounts.errors import KeyUnknown, TokenExpired, TokenInvalid
from server.accounts.keys import issue
from server.accounts.repository import PREFIX_CHARS, MintedKey, Users
from server.accounts.tables import ApiKey, User
from server.caller import Caller
from server.credits.repository import Ledger
from server.db.unit_of_work import UnitOfWork
from server.logs import get_log

log = get_log(__name__)

MAX_REFERENCE_CHARS: Final = 100  # the column has room for 128: the program's own have prefixes
MAX_PAYMENT_CHARS: Final = 64  # the width of the column of what a transfer refers to
MAX_REASON_CHARS: Final = 300  # the width of the column


@dataclass(frozen=True)
class Registered:
    """A user, and a new key to ask with."""

    user_id: str
    key: MintedKey


@dataclass(frozen=True)
class AccountOf:
    """A user, the credits that can be spent, and those held for unfinished generations."""

    user: User
    available: int
    held: int


@dataclass(frozen=True)
class Granted:
    """What a user has available after a grant. repeated: it was made before, and not again."""

    user_id: str
    balance: int
    repeated: bool


def find(uow: UnitOfWork, who: str) -> Caller:
    """Return a user as the caller of use cases.

    Raises:
        UserUnknown: there is no such user.

    """
    with uow.read() as tx:
        user = Users(tx).find(who)
    return Caller(user.id, Tier(user.tier))


def list_users(uow: UnitOfWork, limit: int, beginning: str = "") -> list[AccountOf]:
    """Return the newest users with their credits, newest first.

    beginning: of their id or email.
    """
    with uow.read() as tx:
        users = Users(tx).newest(limit, beginning)
        balances = Ledger(tx).balances_of(user.id for user in users)
    return [AccountOf(user, *balances.get(user.id, (0, 0))) for user in users]


def show(uow: UnitOfWork, who: str) -> AccountOf:
    """Return a user with the credits.

    Raises:
        UserUnknown, UserAmbiguous: no user, or several, are called so.

    """
    with uow.read() as tx:
        user = Users(tx).find(who)
        return AccountOf(user, *Ledger(tx).balances(user.id))


def register(
    uow: UnitOfWork,
    *,
    email: str | None,
    tier: Tier,
    granted: int,
    reason: str,
    key_label: str,
    user_id: str | None = None,
) -> Registered:
    """Create a user with an account, first credits if any are granted, and a key. All or nothing.

    Raises:
        IdentityInvalid: the id or the email breaks its rule.
        UserExists, EmailTaken: the id or the email is another user's.

    """
    with uow.begin() as tx:
        user = Users(tx).add(email, tier, user_id)
        Ledger(tx).open_account(user.id, granted, reason)
        key = Users(tx).mint_key(user.id, key_label)
    return Registered(user.id, key)


def set_tier(uow: UnitOfWork, who: str, tier: Tier) -> str:
    """Move a user to another tier and return the user's id.

    Raises:
        UserUnknown: there is no such user.

    """
    with uow.begin() as tx:
        user = Users(tx).find(who)
        before, user.tier = user.tier, tier.value
    log.info("user.tier_set", user_id=user.id, before=before, after=tier.value)
    return user.id


def set_operator(uow: UnitOfWork, who: str, *, is_operator: bool) -> str:
    """Let a user operate the service, or no longer, and return the user's id.

    Raises:
        UserUnknown: there is no such user.

    """
    with uow.begin() as tx:
        user = Users(tx).find(who)
        user.is_operator = is_operator
    log.info("user.operator_set", user_id=user.id, is_operator=is_operator)
    return user.id


def delete(uow: UnitOfWork, who: str) -> Caller:
    """Delete a user, or one who is deleted already, up to the tombstone; return who it was.

    From then on no token and no key is the user's. `generations.deletion` deletes what the user made.

    Raises:
        UserUnknown: there is no such user.

    """
    with uow.begin() as tx:
        user = Users(tx).find(who, deleted=True)
        Users(tx).delete(user)
    return Caller(user.id, Tier(user.tier))


def create_key(uow: UnitOfWork, who: str, label: str, lifetime_days: int | None = None) -> Registered:
    """Issue a key to a user.

    Raises:
        UserUnknown: there is no such user.
        TooManyKeys: the user has as many as a user may have.

    """
    with uow.begin() as tx:
        user = Users(tx).find(who)
        key = issue(tx, user.id, label, lifetime_days)
    log.info("key.issued", user_id=user.id, prefix=key.stored.prefix)
    return Registered(user.id, key)


def list_keys(uow: UnitOfWork, who: str) -> list[ApiKey]:
    """Return a user's keys that were not revoked, newest first.

    Raises:
        UserUnknown: there is no such user.

    """
    with uow.read() as tx:
        return Users(tx).keys_of(Users(tx).find(who).id)


def is_valid_key(uow: UnitOfWork, user_id: str, token: str) -> bool:
    """Return whether a key is valid, and the user's."""
    try:
        with uow.read() as tx:
            return Users(tx).key_holder(token).caller.user_id == user_id
    except (TokenInvalid, TokenExpired):
        return False


def replace_key(uow: UnitOfWork, who: str, label: str) -> Registered:
    """Issue a key to a user in place of all that have its label.

    Raises:
        UserUnknown: there is no such user.

    """
    with uow.begin() as tx:
        users = Users(tx)
        user = users.find(who)
        users.revoke_keys(user.id, label=label)
        return Registered(user.id, users.mint_key(user.id, label))


def revoke_keys(uow: UnitOfWork, who: str, prefix: str | None = None) -> int:
    """Revoke a user's keys, or only the one with this prefix; return how many these were.

    prefix: or the whole key.

    Raises:
        UserUnknown: there is no such user.
        KeyUnknown: none of the user's keys has the prefix.

    """
    with uow.begin() as tx:
        user_id = Users(tx).find(who).id
        revoked = Users(tx).revoke_keys(user_id, prefix=prefix)
    if prefix is not None and not revoked:
        raise KeyUnknown(user_id, prefix[:PREFIX_CHARS])
    log.info("key.revoked", user_id=user_id, keys=revoked)
    return revoked


def grant(
    uow: UnitOfWork, who: str, amount: int, reason: str, reference: str, payment_id: str | None = None
) -> Granted:
    """Grant a user credits, bought with a payment or given. A grant that was made already is not made again.

    reference: what the caller calls this grant, to recognise its repetition.

    Raises:
        UserUnknown: there is no such user.
        GrantDiffers: another user or another amount was granted under the reference.

    """
    with uow.begin() as tx:
        user = Users(tx).find(who)
        ledger = Ledger(tx)
        if ledger.was_granted(user.id, amount, reference):
            return Granted(user.id, ledger.available(user.id), repeated=True)
        balance = ledger.grant(user.id, amount, reason, user.id, payment_id, reference)
    log.info("credits.granted", user_id=user.id, credits=amount, reference=reference)
    return Granted(user.id, balance, repeated=False)
