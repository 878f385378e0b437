"""Who is asking: the caller behind a bearer token."""

from typing import Final

from catalog.tiers import Tier
from server.accounts.errors import UserUnknown
from server.accounts.identity import Identity
from server.accounts.key_uses import KeyUses
from server.accounts.repository import Users
from server.accounts.session_tokens import is_session_token, verify
from server.caller import Caller
from server.credits.repository import Ledger
from server.db.unit_of_work import UnitOfWork
from server.logs import get_log

log = get_log(__name__)

WELCOME: Final = "Welcome credits"


class Authentication:
    """Turns bearer tokens into callers. Only the first visit of a user writes.

    session_secret: the secret of the platform's session tokens; without it only API keys are accepted.
    """

    def __init__(
        self, uow: UnitOfWork, uses: KeyUses, session_secret: str | None, welcome_credits: int
    ) -> None:
        self._uow = uow
        self._uses = uses
        self._session_secret = session_secret
        self._welcome_credits = welcome_credits

    def caller_of(self, token: str) -> Caller:
        """Return the user whose API key or session token this is.

        Raises:
            TokenInvalid: it is unknown, revoked, forged, or of a deleted user.
            TokenExpired: it was valid until its expiry.

        """
        if self._session_secret is not None and is_session_token(token):
            return self._visitor(verify(token, self._session_secret))
        with self._uow.read() as tx:
            holder = Users(tx).key_holder(token)
        self._uses.note(holder.key_id)
        return holder.caller

    def _visitor(self, identity: Identity) -> Caller:
        try:
            with self._uow.read() as tx:
                return Users(tx).visitor(identity.user_id)
        except UserUnknown:
            return welcome(self._uow, identity, self._welcome_credits)


def welcome(uow: UnitOfWork, identity: Identity, welcome_credits: int) -> Caller:
    """Return a user who may be new. A new one gets an account and the welcome credits, once only.

    The primary key of users decides which of several first visits at once is the first.

    Raises:
        TokenInvalid: the user was deleted.

    """
    with uow.begin() as tx:
        users = Users(tx)
        added = users.insert(identity, Tier.FREE)
        without_email = not added and users.insert(Identity(identity.user_id, None), Tier.FREE)
        if added or without_email:
            Ledger(tx).open_account(identity.user_id, welcome_credits, WELCOME)
        caller = users.visitor(identity.user_id)
    if added or without_email:
        log.info("user.welcomed", user_id=identity.user_id, credits=welcome_credits)
    if without_email:
        log.warning("user.email_taken", user_id=identity.user_id)
    return caller
