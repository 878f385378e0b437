"""The routes of A1111's API."""

from contextlib import suppress
from typing import Any, Final

from litestar import Controller, Request, Response, get, post
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from litestar.params import JSONBody

from catalog.entries import Entry
from catalog.selection import EntryBeyondTier, UnknownEntry, Wish, select_entry
from server.accounts.repository import Users
from server.caller import Caller
from server.dialects.a1111.bodies import ImagesShape, ModelShape, Options, OptionsShape, TextToImage
from server.dialects.drawing import draw
from server.dialects.refusing import Refusal
from server.entries import service as entries
from server.entries.repository import Entries
from server.http.authentication import BASIC
from server.http.request import ApiRequest
from server.http.services import Services

UNAUTHORIZED: Final = 401


def answer_error(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer any exception in the shape in which Open WebUI looks for words, and in A1111's own."""
    refusal = Refusal.of(request, error)
    message, code = refusal.described.message, refusal.described.code
    headers = {"WWW-Authenticate": "Basic"} if refusal.status == UNAUTHORIZED else {}
    body = {"error": {"message": message, "type": code}, "detail": message}
    return refusal.answer(body, refusal.status, headers)


class A1111Controller(Controller):
    """Draw while the client waits, with the model that it has chosen before."""

    path = "/sdapi/v1"
    include_in_schema = False  # A1111 describes it, and its errors have another shape
    exception_handlers = {Exception: answer_error}  # noqa: RUF012  # read by Litestar as it is
    opt = {"scheme": BASIC}  # noqa: RUF012  # as above

    @get("/options", sync_to_thread=True)
    def read_options(self, request: ApiRequest, services: NamedDependency[Services]) -> OptionsShape:
        """Say which entry draws."""
        return OptionsShape(sd_model_checkpoint=_chosen(services, request.user).short_key)

    @post("/options", status_code=200, sync_to_thread=True)
    def change_options(
        self, data: JSONBody[Options], request: ApiRequest, services: NamedDependency[Services]
    ) -> Response[bytes]:
        """Choose the entry that draws from now on; other options are ignored."""
        if (name := data.sd_model_checkpoint) is not None:
            with services.uow.begin() as tx:
                entry = select_entry(Entries(tx).all(), request.user.tier, Wish(model_key=name))
                Users(tx).choose_entry(request.user.user_id, entry.key)
        return Response(b"null", media_type="application/json")

    @get("/sd-models", sync_to_thread=True)
    def list_models(self, request: ApiRequest, services: NamedDependency[Services]) -> list[ModelShape]:
        """List the entries that the caller may use."""
        return [ModelShape.of(entry) for entry in entries.within_reach(services.uow, request.user.tier)]

    @post("/txt2img", status_code=200, rate_limit="generate")
    async def text_to_image(
        self, data: JSONBody[TextToImage], request: ApiRequest, services: NamedDependency[Services]
    ) -> ImagesShape:
        """Draw images, and answer when they are drawn."""
        chosen = await sync_to_thread(_chosen, services, request.user)
        asked = data.asked(chosen.key)
        drawn, _ = await draw(services, request.user, asked, request.receive, repeated=False)
        return await sync_to_thread(ImagesShape.of, data, drawn)


def _chosen(services: Services, caller: Caller) -> Entry:
    """Return the entry that the caller has chosen; if it is not to be had, the one for who chooses none."""
    with services.uow.read() as tx:
        on_offer, chosen = Entries(tx).all(), Users(tx).chosen_entry(caller.user_id)
    with suppress(UnknownEntry, EntryBeyondTier):
        return select_entry(on_offer, caller.tier, Wish(model_key=chosen))
    return select_entry(on_offer, caller.tier, Wish())
