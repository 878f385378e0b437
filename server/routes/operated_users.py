"""The routes by which operators look after users: tier, credits and keys. See ADR 38."""

from typing import Annotated, Final, Literal, Self

from litestar import Controller, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from pydantic import Field

from catalog.tiers import Tier
from server.accounts import keys, service
from server.accounts.errors import TooManyKeys, UserUnknown
from server.accounts.identity import MAX_EMAIL_CHARS
from server.accounts.repository import BY_ID
from server.accounts.service import MAX_REASON_CHARS, MAX_REFERENCE_CHARS, AccountOf
from server.credits.errors import GrantDiffers
from server.http.bodies import Fold, Message, Request, View, WireTime, examples
from server.http.operators import operators_only
from server.http.paging import Limit
from server.http.services import Services
from server.routes.keys import CreateKey, KeyCreated, KeyList, KeyRevoked, KeyView
from server.settings.kinds import WHOLE

DEFAULT_LIMIT: Final = 20

Beginning = Annotated[
    str, QueryParameter(max_length=MAX_EMAIL_CHARS, description="How the id or the email begins.")
]


class UserView(View):
    """A user, the credits that can be spent, and those that are held for unfinished generations."""

    id: str
    email: str | None
    tier: str
    is_operator: bool
    available: int
    held: int
    created_at: WireTime

    @classmethod
    def of(cls, account: AccountOf) -> Self:
        """Return a user as operators read it."""
        user = account.user
        return cls(
            id=user.id,
            email=user.email,
            tier=user.tier,
            is_operator=user.is_operator,
            available=account.available,
            held=account.held,
            created_at=user.created_at,
        )


class UserList(View):
    """The newest users that were asked for, newest first."""

    users: list[UserView]


class SetTier(Request):
    """The body of PUT /api/operate/users/{id}."""

    model_config = examples({"tier": "pro"})

    tier: Literal["free", "basic", "pro", "enterprise"]


class GrantCredits(Request):
    """The body of POST /api/operate/users/{id}/grants.

    A grant is made once for a reference, however often it is sent. Without one it is made at each time.
    """

    model_config = examples({"amount": 100, "reason": "Sorry for the wait", "reference": "ticket 4711"})

    amount: Annotated[int, Field(ge=1, le=WHOLE)]
    reference: Annotated[str, Field(min_length=1, max_length=MAX_REFERENCE_CHARS), Fold]
    reason: Annotated[str, Field(min_length=1, max_length=MAX_REASON_CHARS), Fold] = "Granted by the operator"


class CreditsGranted(View):
    """What the user can spend now. repeated: the grant was made before, and not again."""

    message: str
    balance: int
    repeated: bool


class OperatedUserController(Controller):
    """Look after users. For operators."""

    path = "/api/operate/users"
    tags = ("operate",)
    guards = (operators_only,)

    @get(sync_to_thread=True)
    def list_users(
        self, services: NamedDependency[Services], limit: Limit = DEFAULT_LIMIT, beginning: Beginning = ""
    ) -> UserList:
        """List the newest users, or those whose id or email begins so."""
        found = service.list_users(services.uow, limit, beginning)
        return UserList(users=[UserView.of(account) for account in found])

    @put("/{user_id:str}", sync_to_thread=True, refuses=(UserUnknown,))
    def set_tier(
        self, user_id: FromPath[str], data: JSONBody[SetTier], services: NamedDependency[Services]
    ) -> Message:
        """Move a user to another tier."""
        service.set_tier(services.uow, BY_ID + user_id, Tier(data.tier))
        return Message(message=f"User {user_id} is {data.tier} now")

    @post("/{user_id:str}/grants", status_code=200, sync_to_thread=True, refuses=(UserUnknown, GrantDiffers))
    def grant(
        self, user_id: FromPath[str], data: JSONBody[GrantCredits], services: NamedDependency[Services]
    ) -> CreditsGranted:
        """Grant a user credits."""
        granted = service.grant(services.uow, BY_ID + user_id, data.amount, data.reason, data.reference)
        words = "was made before" if granted.repeated else "is made"
        return CreditsGranted(
            message=f"The grant {words}", balance=granted.balance, repeated=granted.repeated
        )

    @get("/{user_id:str}/keys", sync_to_thread=True, refuses=(UserUnknown,))
    def list_keys(self, user_id: FromPath[str], services: NamedDependency[Services]) -> KeyList:
        """List a user's keys that were not revoked, newest first."""
        found = service.list_keys(services.uow, BY_ID + user_id)
        return KeyList(keys=[KeyView.model_validate(key) for key in found])

    @post("/{user_id:str}/keys", status_code=200, sync_to_thread=True, refuses=(UserUnknown, TooManyKeys))
    def create_key(
        self, user_id: FromPath[str], data: JSONBody[CreateKey], services: NamedDependency[Services]
    ) -> KeyCreated:
        """Issue a key to a user."""
        minted = service.create_key(services.uow, BY_ID + user_id, data.label, data.expires_in_days).key
        return KeyCreated(
            message="API key created. Its token is shown only now",
            key=KeyView.model_validate(minted.stored),
            token=minted.token,
        )

    @delete("/{user_id:str}/keys/{key_id:str}", status_code=200, sync_to_thread=True, refuses=(UserUnknown,))
    def revoke_key(
        self, user_id: FromPath[str], key_id: FromPath[str], services: NamedDependency[Services]
    ) -> KeyRevoked:
        """Revoke one of a user's keys."""
        keys.revoke(services.uow, service.find(services.uow, BY_ID + user_id), key_id)
        return KeyRevoked(message="API key revoked successfully")
