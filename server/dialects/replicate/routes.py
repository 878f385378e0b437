"""The routes of Replicate's API of predictions."""

import asyncio
import re
from contextlib import suppress
from typing import Annotated, Final
from uuid import uuid4

from litestar import Controller, get, post
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from litestar.params import FromPath, HeaderParameter, JSONBody, QueryParameter

from catalog.entries import Entry
from server.caller import Caller
from server.dialects import tickets
from server.dialects.addresses import addresses_of, base_of
from server.dialects.asking import accept_all
from server.dialects.drawing import accepted_for
from server.dialects.names import entry_named
from server.dialects.replicate.bodies import (
    FORMATS,
    OWNER,
    PUBLISHED,
    CreateOfVersion,
    CreatePrediction,
    ModelShape,
    PageShape,
    PredictionShape,
    VersionShape,
    version_of,
    version_shape,
)
from server.dialects.replicate.errors import answer_error
from server.dialects.tickets import STORED, Stage, Ticket, ticket_id
from server.entries import service as entries
from server.errors import NotFound
from server.generations import service
from server.http.errors import InputInvalid
from server.http.event_stream import while_connected
from server.http.paging import page_meta, position
from server.http.request import ApiRequest
from server.http.services import Services

PUBLISHED_AT: Final = "2024-08-01T00:00:00.000Z"  # of FLUX.1
PAGE: Final = 100
MAX_WAIT_S: Final = 60
WAIT: Final = re.compile(r"\bwait(?:=([0-9]{1,3}))?\b")

Prefer = Annotated[
    str | None, HeaderParameter(name="Prefer", description="wait, or wait=SECONDS, from 1 to 60.")
]


class ReplicateController(Controller):
    """Create predictions, and read, list and cancel them."""

    path = "/v1"
    include_in_schema = False  # Replicate describes it, and its errors have another shape
    exception_handlers = {Exception: answer_error}  # noqa: RUF012  # read by Litestar as it is

    @post("/models/{owner:str}/{name:str}/predictions", status_code=201, rate_limit="generate")
    async def create(
        self,
        owner: FromPath[str],
        name: FromPath[str],
        data: JSONBody[CreatePrediction],
        request: ApiRequest,
        services: NamedDependency[Services],
        prefer: Prefer = None,
    ) -> PredictionShape:
        """Have an entry draw; with `Prefer: wait`, answer when it has drawn, or when the seconds are over."""
        entry = await sync_to_thread(entry_named, services, f"{owner}/{name}", PUBLISHED)
        return await _created(request, services, entry, data, prefer)

    @post("/predictions", status_code=201, rate_limit="generate")
    async def create_of_version(
        self,
        data: JSONBody[CreateOfVersion],
        request: ApiRequest,
        services: NamedDependency[Services],
        prefer: Prefer = None,
    ) -> PredictionShape:
        """Have a version of an entry draw. One that draws otherwise by now is refused."""
        entry = await sync_to_thread(_entry_of_version, services, data.version)
        return await _created(request, services, entry, data, prefer)

    @get("/predictions", sync_to_thread=True)
    def list_page(
        self,
        request: ApiRequest,
        services: NamedDependency[Services],
        cursor: Annotated[str | None, QueryParameter(max_length=200)] = None,
    ) -> PageShape:
        """List the caller's generations, newest first: one of several outputs is as many predictions."""
        page = service.list_page(services.uow, request.user, PAGE, after=position(cursor))
        last, base = page.generations[-1] if page.more else None, base_of(request)
        following = page_meta(PAGE, (last.created_at, last.id) if last else None).next_cursor
        return PageShape(
            next=following and f"{base}/v1/predictions?cursor={following}",
            results=[
                PredictionShape.of(Ticket([service.Followed(one, None)]), None, base)
                for one in page.generations
            ],
        )

    @get("/predictions/{prediction_id:str}", sync_to_thread=True)
    def read(
        self, prediction_id: FromPath[str], request: ApiRequest, services: NamedDependency[Services]
    ) -> PredictionShape:
        """Read one prediction."""
        return _read(services, request.user, prediction_id, base_of(request))

    @post("/predictions/{prediction_id:str}/cancel", status_code=200, sync_to_thread=True)
    def cancel(
        self, prediction_id: FromPath[str], request: ApiRequest, services: NamedDependency[Services]
    ) -> PredictionShape:
        """Cancel a prediction: what it holds is given back. One that has ended stays as it is."""
        ticket, _ = tickets.cancel(services, request.user, prediction_id)
        return _shape(services, ticket, base_of(request))

    @get("/models/{owner:str}/{name:str}", sync_to_thread=True)
    def read_model(
        self, owner: FromPath[str], name: FromPath[str], services: NamedDependency[Services]
    ) -> ModelShape:
        """Return an entry."""
        entry = entry_named(services, f"{owner}/{name}", PUBLISHED)
        return ModelShape(
            url=f"https://huggingface.co/{entry.model_id}",
            owner=OWNER,
            name=entry.short_key,
            description=entry.name,
            run_count=entry.total_usage,
            latest_version=version_shape(entry, PUBLISHED_AT),
        )

    @get("/models/{owner:str}/{name:str}/versions/{version:str}", sync_to_thread=True)
    def read_version(
        self,
        owner: FromPath[str],
        name: FromPath[str],
        version: FromPath[str],
        services: NamedDependency[Services],
    ) -> VersionShape:
        """Return the version of an entry, with its schema."""
        described = version_shape(entry_named(services, f"{owner}/{name}", PUBLISHED), PUBLISHED_AT)
        if version != described.id:
            raise NotFound("Version")
        return described


async def _created(
    request: ApiRequest, services: Services, entry: Entry, data: CreatePrediction, prefer: str | None
) -> PredictionShape:
    """Accept a prediction, and wait for it if the client prefers that.

    Its clients take every status but `starting` for the end: what has not ended yet is told as that.
    """
    caller, asked, wait_s = request.user, data.input.asked(entry), _wait_s(prefer)
    if wait_s is None:
        accepted = await sync_to_thread(accept_all, services, caller, asked, str(uuid4()))
        ids = accepted.generation_ids
    else:
        async with accepted_for(services, caller, asked, repeated=False) as waiting:
            ids = waiting.generation_ids
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await while_connected(waiting.until_over(), request.receive)
    kind = FORMATS[data.input.output_format or STORED]
    shape = await sync_to_thread(_read, services, caller, ticket_id(ids, kind), base_of(request))
    return shape if shape.completed_at else shape.model_copy(update={"status": "starting"})


def _read(services: Services, caller: Caller, id_: str, base: str) -> PredictionShape:
    return _shape(services, tickets.find(services, caller, id_), base)


def _shape(services: Services, ticket: Ticket, base: str) -> PredictionShape:
    """Return a prediction. Its clients make files of addresses by https, and of those that hold the image."""
    output = None
    if ticket.stage is Stage.SUCCEEDED:
        output = addresses_of(services, ticket, base if base.startswith("https:") else None)
    return PredictionShape.of(ticket, output, base)


def _wait_s(prefer: str | None) -> int | None:
    """Return how long a client prefers to wait; None if it does not."""
    found = WAIT.search(prefer or "")
    return found and min(MAX_WAIT_S, max(1, int(found[1] or MAX_WAIT_S)))


def _entry_of_version(services: Services, version: str) -> Entry:
    """Return the entry that a version draws with now.

    Raises:
        UnknownEntry: there is none of this name.
        InputInvalid: no entry draws with this version, or no longer.

    """
    name, _, id_ = version.rpartition(":") if ":" in version else ("", "", version)
    if "/" in id_:
        name, id_ = id_, ""
    if name:
        on_offer = [entry_named(services, name, PUBLISHED)]
    else:
        on_offer = [entry for entry in entries.examine(services.uow)[0] if entry.enabled]
    for entry in on_offer:
        if id_ in {"", version_of(entry.key, entry)}:
            return entry
    raise InputInvalid({"version": ["version: no model draws with it, or no longer"]})
