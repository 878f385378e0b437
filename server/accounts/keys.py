"""The use cases of a user's own API keys."""

from datetime import timedelta
from typing import Final

from server.accounts.errors import TooManyKeys
from server.accounts.repository import MintedKey, Users
from server.accounts.tables import ApiKey
from server.caller import Caller
from server.clock import now
from server.db.unit_of_work import Transaction, UnitOfWork
from server.errors import NotFound

MAX_VALID_KEYS: Final = 20  # one for each program of a user; a leaked session can mint no more
MAX_LABEL_CHARS: Final = 64  # the width of the column
MAX_LIFETIME_DAYS: Final = 3650


def list_all(uow: UnitOfWork, caller: Caller) -> list[ApiKey]:
    """Return the caller's keys that were not revoked, newest first; expired ones too."""
    with uow.read() as tx:
        return Users(tx).keys_of(caller.user_id)


def create(uow: UnitOfWork, caller: Caller, label: str, lifetime_days: int | None) -> MintedKey:
    """Issue a key to the caller.

    Raises:
        TooManyKeys: the caller has as many as a user may have.

    """
    with uow.begin() as tx:
        return issue(tx, caller.user_id, label, lifetime_days)


def issue(tx: Transaction, user_id: str, label: str, lifetime_days: int | None) -> MintedKey:
    """Issue a key to a user, for ever or for a number of days.

    Raises:
        TooManyKeys: the user has as many as a user may have.

    """
    users = Users(tx)
    users.lock(user_id)  # of two requests for the last place, the second counts the first one's key
    if users.valid_keys(user_id) >= MAX_VALID_KEYS:
        raise TooManyKeys(MAX_VALID_KEYS)
    expires_at = None if lifetime_days is None else now() + timedelta(days=lifetime_days)
    return users.mint_key(user_id, label, expires_at)


def revoke(uow: UnitOfWork, caller: Caller, key_id: str) -> None:
    """Revoke one of the caller's keys.

    Raises:
        NotFound: there is none of this id that is not revoked, or it is another user's.

    """
    with uow.begin() as tx:
        if not Users(tx).revoke_keys(caller.user_id, key_id=key_id):
            raise NotFound("API key")
