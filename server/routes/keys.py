"""The routes of a user's API keys."""

from typing import Annotated

from litestar import Controller, delete, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from pydantic import Field

from server.accounts import keys
from server.accounts.errors import TooManyKeys
from server.accounts.keys import MAX_LABEL_CHARS, MAX_LIFETIME_DAYS
from server.http.bodies import Fold, Request, View, WireTime, examples
from server.http.request import ApiRequest
from server.http.services import Services


class CreateKey(Request):
    """The body of POST /api/keys. Without a lifetime a key is valid until it is revoked."""

    model_config = examples({"label": "ci", "expiresInDays": 90})

    label: Annotated[str, Field(min_length=1, max_length=MAX_LABEL_CHARS), Fold]
    expires_in_days: Annotated[int | None, Field(ge=1, le=MAX_LIFETIME_DAYS)] = None


class KeyView(View):
    """A key, without its token. `prefix` is how the token begins, `lastUsedAt` is right to the minute."""

    id: str
    label: str
    prefix: str
    created_at: WireTime
    last_used_at: WireTime | None
    expires_at: WireTime | None


class KeyList(View):
    """All of a user's keys that were not revoked."""

    keys: list[KeyView]


class KeyCreated(View):
    """A new key and its token, which is shown only here."""

    message: str
    key: KeyView
    token: str


class KeyRevoked(View):
    """A key was revoked."""

    message: str


class KeyController(Controller):
    """List, issue and revoke the caller's API keys."""

    path = "/api/keys"
    tags = ("keys",)

    @get(sync_to_thread=True)
    def list_all(self, request: ApiRequest, services: NamedDependency[Services]) -> KeyList:
        """List the caller's keys, newest first."""
        found = keys.list_all(services.uow, request.user)
        return KeyList(keys=[KeyView.model_validate(key) for key in found])

    @post(status_code=200, sync_to_thread=True, refuses=(TooManyKeys,))
    def create(
        self, data: JSONBody[CreateKey], request: ApiRequest, services: NamedDependency[Services]
    ) -> KeyCreated:
        """Issue a key to the caller."""
        minted = keys.create(services.uow, request.user, data.label, data.expires_in_days)
        return KeyCreated(
            message="API key created. Its token is shown only now",
            key=KeyView.model_validate(minted.stored),
            token=minted.token,
        )

    @delete("/{key_id:str}", status_code=200, sync_to_thread=True)
    def revoke(
        self, key_id: FromPath[str], request: ApiRequest, services: NamedDependency[Services]
    ) -> KeyRevoked:
        """Revoke one of the caller's keys."""
        keys.revoke(services.uow, request.user, key_id)
        return KeyRevoked(message="API key revoked successfully")
