"""The routes of fal's API: of its queue, and those that draw while the client waits."""

from typing import Annotated, Any, Final
from uuid import uuid4

from litestar import Controller, Response, get, post, put
from litestar.background_tasks import BackgroundTask
from litestar.concurrency import sync_to_thread
from litestar.datastructures import State
from litestar.di import NamedDependency, Provide
from litestar.params import FromPath, JSONBody, QueryParameter
from litestar.response.base import ASGIResponse

from server.caller import Caller
from server.dialects import tickets
from server.dialects.addresses import addresses_of
from server.dialects.asking import Accepted, Asked, accept_all, note_answered, take_up
from server.dialects.drawing import accepted_for, failure
from server.dialects.fal.bodies import PUBLISHED, Arguments, ResultShape, status_of, urls_of
from server.dialects.fal.errors import answer_error
from server.dialects.fal.receipts import Receipts
from server.dialects.fal.stream import PREVIEWS, ResultStream
from server.dialects.names import entry_named
from server.dialects.tickets import STORED, Ticket, ticket_id
from server.http.authentication import KEY
from server.http.connections import Link, link_of
from server.http.errors import ClientGone, InputInvalid, NotYetDrawn
from server.http.event_stream import while_connected
from server.http.rate_limits import GENERATE, RateLimits
from server.http.request import ApiRequest
from server.http.services import Services

RUN: Final = "/fal/run"
QUEUE: Final = "/fal/queue"
STREAM: Final = "/stream"


def receipts_of(state: State) -> Receipts:
    """Return the application's receipts, made with its first submission."""
    found: Receipts = state.setdefault("fal_receipts", Receipts())
    return found


Logs = Annotated[bool, QueryParameter(name="logs", description="Whether to tell how far it is.")]


class FalController(Controller):
    """Draw while the client waits. Its clients find this under FAL_RUN_HOST=this.server/fal/run."""

    path = RUN
    include_in_schema = False  # fal describes it, and its errors have another shape
    exception_handlers = {Exception: answer_error}  # noqa: RUF012  # read by Litestar as it is
    opt = {"scheme": KEY}  # noqa: RUF012  # as above

    @post("/{application:path}", status_code=200, rate_limit=GENERATE)
    async def run(
        self,
        application: FromPath[str],
        data: JSONBody[Arguments],
        request: ApiRequest,
        services: NamedDependency[Services],
    ) -> ASGIResponse:
        """Answer when the images are drawn; under /stream, with a stream of what the image becomes."""
        name = application.strip("/")
        asked = await sync_to_thread(_asked, services, name.removesuffix(STREAM), data)
        if name.endswith(STREAM):
            if asked.images != 1:
                raise InputInvalid({"num_images": ["num_images: must be 1 with a stream"]})
            return ResultStream(services, request.user, asked, previews_wanted=PREVIEWS, repeated=False)
        async with accepted_for(services, request.user, asked, repeated=False) as waiting:
            await while_connected(waiting.until_over(), request.receive)
        if not waiting.is_over:
            raise ClientGone
        id_ = ticket_id(waiting.generation_ids, data.output_format or STORED)
        result = await sync_to_thread(_result, services, request.user, id_, _base(request, data))
        return ASGIResponse(body=result.model_dump_json(), media_type="application/json")


class FalQueueController(Controller):
    """Submit requests, and ask for them. Its clients find this under FAL_QUEUE_RUN_HOST=…/fal/queue."""

    path = QUEUE
    include_in_schema = False  # as above
    exception_handlers = {Exception: answer_error}  # noqa: RUF012  # as above
    opt = {"scheme": KEY}  # noqa: RUF012  # as above
    dependencies = {"receipts": Provide(receipts_of, sync_to_thread=False)}  # noqa: RUF012  # as above

    @post(["/{owner:str}/{alias:str}", "/{owner:str}/{alias:str}/{variant:str}"], status_code=200)
    async def submit(
        self,
        owner: FromPath[str],
        alias: FromPath[str],
        data: JSONBody[Arguments],
        request: ApiRequest,
        services: NamedDependency[Services],
        receipts: NamedDependency[Receipts],
        variant: FromPath[str | None] = None,
    ) -> Response[dict[str, Any]]:
        """Accept a request, once however often its client sends it: a repetition counts and costs nothing."""
        caller, link = request.user, link_of(request.scope)
        name = "/".join(part for part in (owner, alias, variant) if part)
        asked = await sync_to_thread(_asked, services, name, data)
        kind = data.output_format or STORED
        await _note_read(services, receipts, link)
        accepted = await sync_to_thread(take_up, services, caller, asked, receipts.lost)
        if accepted is None:
            limits: RateLimits = request.app.state.rate_limits
            await limits.count(request.scope, GENERATE, caller.user_id)
            accepted = await _accepted(services, receipts, caller, asked, link)
        else:
            receipts.begin(accepted.record_id, link)
        request_id = ticket_id(accepted.generation_ids, kind)
        receipts.accepted(accepted.record_id, request_id)
        body = {"request_id": request_id, "status": "IN_QUEUE", "queue_position": 0}
        urls = urls_of(f"{_origin(request)}{QUEUE}/{owner}/{alias}", request_id)
        # Behind a proxy the connection is the proxy's, and what comes on it next may be anybody's.
        sent = BackgroundTask(_note_sent, services, receipts, accepted.record_id, link)
        forwarded = "x-forwarded-for" in request.headers
        return Response(body | urls, background=sent if forwarded else None)

    @get("/{owner:str}/{alias:str}/requests/{request_id:str}/status")
    async def status(
        self,
        owner: FromPath[str],
        alias: FromPath[str],
        request_id: FromPath[str],
        request: ApiRequest,
        services: NamedDependency[Services],
        receipts: NamedDependency[Receipts],
        logs: Logs = False,
    ) -> dict[str, Any]:
        """Say how far a request is."""
        await _note_read(services, receipts, link_of(request.scope), request_id)
        ticket = await sync_to_thread(tickets.find, services, request.user, request_id)
        shape = status_of(ticket, f"{_origin(request)}{QUEUE}/{owner}/{alias}")
        return shape if logs else shape | {"logs": []}

    @get("/{owner:str}/{alias:str}/requests/{request_id:str}")
    async def read(
        self,
        request_id: FromPath[str],
        request: ApiRequest,
        services: NamedDependency[Services],
        receipts: NamedDependency[Receipts],
    ) -> ResultShape:
        """Return what was drawn."""
        await _note_read(services, receipts, link_of(request.scope), request_id)
        return await sync_to_thread(_result, services, request.user, request_id, _origin(request))

    @put("/{owner:str}/{alias:str}/requests/{request_id:str}/cancel", status_code=202)
    async def cancel(
        self,
        request_id: FromPath[str],
        request: ApiRequest,
        services: NamedDependency[Services],
        receipts: NamedDependency[Receipts],
    ) -> Response[dict[str, str]]:
        """Cancel a request: what it holds is given back. What has ended stays as it is."""
        await _note_read(services, receipts, link_of(request.scope), request_id)
        _, cancelled = await sync_to_thread(tickets.cancel, services, request.user, request_id)
        if not cancelled:
            return Response({"status": "ALREADY_COMPLETED"}, status_code=400)
        return Response({"status": "CANCELLATION_REQUESTED"}, status_code=202)


def _asked(services: Services, name: str, data: Arguments) -> Asked:
    return data.asked(entry_named(services, name, PUBLISHED))


async def _accepted(
    services: Services, receipts: Receipts, caller: Caller, asked: Asked, link: Link
) -> Accepted:
    record_id = str(uuid4())
    receipts.begin(record_id, link)
    try:
        return await sync_to_thread(accept_all, services, caller, asked, record_id)
    except Exception:
        receipts.forget(record_id)  # if it was accepted after all, a repetition finds it
        raise


async def _note_read(
    services: Services, receipts: Receipts, link: Link, request_id: str | None = None
) -> None:
    """Note which answers this request shows to have been read."""
    if read := receipts.read_by(link, request_id):
        await sync_to_thread(note_answered, services, read)


async def _note_sent(services: Services, receipts: Receipts, record_id: str, link: Link) -> None:
    """Note that an answer was sent, unless its connection was lost before."""
    if not link.is_lost:
        receipts.forget(record_id)
        await sync_to_thread(note_answered, services, [record_id])


def _result(services: Services, caller: Caller, request_id: str, base: str | None) -> ResultShape:
    """Return what was drawn.

    Raises:
        NotYetDrawn: the request has not ended.
        DrawingFailed: not one image was drawn, or all were deleted.

    """
    ticket: Ticket = tickets.find(services, caller, request_id)
    if not ticket.has_ended:
        raise NotYetDrawn
    addresses = addresses_of(services, ticket, base)
    if not addresses:
        raise failure(ticket.generations)
    return ResultShape.of(ticket, addresses)


def _origin(request: ApiRequest) -> str:
    """Return the address of this server. fal's clients reach every server by https."""
    return f"https://{request.headers.get('host', '')}"


def _base(request: ApiRequest, data: Arguments) -> str | None:
    """Return the address of this server; None if the client wants the images within the answer."""
    return None if data.sync_mode else _origin(request)
