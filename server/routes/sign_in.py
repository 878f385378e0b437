"""The routes that sign in to the page, and that tell who is signed in."""

from typing import Annotated

from litestar import get, post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from pydantic import Field

from server.accounts.errors import CodeInvalid, TooManyKeys
from server.accounts.sign_in import exchange
from server.http.bodies import Request, View
from server.http.request import ApiRequest
from server.http.services import Services
from server.routes.keys import KeyView

MAX_CODE_CHARS = 128


class SignInBody(Request):
    """The body of POST /api/sign-in: the code of a link, which is valid once."""

    code: Annotated[str, Field(min_length=1, max_length=MAX_CODE_CHARS)]


class SignedIn(View):
    """A new API key in exchange for a code. Its token is shown only here."""

    message: str
    key: KeyView
    token: str


class Me(View):
    """Who the caller is. is_operator: whether the routes under /api/operate answer."""

    user_id: str
    tier: str
    is_operator: bool


@get("/api/me", tags=["keys"])
async def read_me(request: ApiRequest) -> Me:
    """Tell the caller who it is."""
    user = request.user
    return Me(user_id=user.user_id, tier=user.tier.value, is_operator=user.is_operator)


@post(
    "/api/sign-in",
    status_code=200,
    public=True,
    tags=["keys"],
    sync_to_thread=True,
    refuses=(CodeInvalid, TooManyKeys),
)
def sign_in(data: JSONBody[SignInBody], services: NamedDependency[Services]) -> SignedIn:
    """Exchange the code of a link for an API key of its user, labelled `page`, for 30 days."""
    minted = exchange(services.uow, data.code)
    return SignedIn(
        message="Signed in. The key is shown only now",
        key=KeyView.model_validate(minted.stored),
        token=minted.token,
    )
