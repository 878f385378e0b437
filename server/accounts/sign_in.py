"""Signing in to the page: a link carries a code, which is exchanged once for an API key."""

from datetime import timedelta
from typing import Final

from server.accounts.keys import issue
from server.accounts.repository import MintedKey, Users
from server.db.unit_of_work import UnitOfWork

LABEL: Final = "page"
CODE_LIFETIME: Final = timedelta(hours=24)
KEY_LIFETIME_DAYS: Final = 30
BROWSERS: Final = 10  # half of the keys that a user may have: the others are left for programs


def link(uow: UnitOfWork, who: str, url: str) -> str:
    """Return a link that signs a user, by id or email, in to the page at a URL, once and within a day.

    The code is in the fragment, which browsers send to nobody.

    Raises:
        UserUnknown: there is no such user.

    """
    with uow.begin() as tx:
        users = Users(tx)
        code = users.add_code(users.find(who).id, CODE_LIFETIME)
    return f"{url.rstrip('/')}/#code={code}"


def exchange(uow: UnitOfWork, code: str) -> MintedKey:
    """Use up a code; return a new key of its user, in place of the oldest that the page has, if need be.

    Raises:
        CodeInvalid: the code is unknown, was used, or has expired.
        TooManyKeys: the user's programs have as many keys as a user may have; the code stays.

    """
    with uow.begin() as tx:
        users = Users(tx)
        user_id = users.use_code(code)
        users.lock(user_id)
        users.revoke_all_but_newest(user_id, LABEL, BROWSERS - 1)
        return issue(tx, user_id, LABEL, KEY_LIFETIME_DAYS)
