"""The streams of events."""

from typing import Annotated, Final

from litestar import Controller, get
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, HeaderParameter, QueryParameter
from litestar.response.base import ASGIResponse

from server.generations import service
from server.generations.states import has_ended
from server.http.errors import InputInvalid
from server.http.event_stream import MEDIA_TYPE, EventStream
from server.http.request import ApiRequest
from server.http.services import Services
from server.routes import refusals

MAX_ID: Final = 2**63 - 1  # what the database counts to
MAX_DIGITS: Final = len(str(MAX_ID))
_AN_ID: Final = {"pattern": rf"^[0-9]{{0,{MAX_DIGITS}}}$"}

ResumeHeader = Annotated[
    str | None,
    HeaderParameter(
        name="Last-Event-ID",
        description="The id of the last event that came: resumes after it.",
        schema_extra=_AN_ID,
    ),
]
ResumeQuery = Annotated[
    str | None,
    QueryParameter(
        name="lastEventId",
        description="The same, where a client cannot set the header.",
        schema_extra=_AN_ID,
    ),
]
_SPEC: Final = {
    200: ResponseSpec(
        data_container=str,
        media_type=MEDIA_TYPE,
        generate_examples=False,
        description="Server-Sent Events: queued, started, step, completed, failed. The id of each resumes "
        "the stream after it. A comment comes as a heartbeat.",
    ),
    204: ResponseSpec(
        data_container=None, description="The generation has ended and the client knows all of it."
    ),
}


class EventController(Controller):
    """Follow what happens."""

    tags = ("events",)

    @get("/generations/{generation_id:str}/events", responses=_SPEC, refuses=refusals.STREAMED)
    async def of_generation(
        self,
        generation_id: FromPath[str],
        request: ApiRequest,
        services: NamedDependency[Services],
        resume_header: ResumeHeader = None,
        resume_query: ResumeQuery = None,
    ) -> ASGIResponse:
        """Stream what happens to one generation, from its beginning to its end."""
        after = _last_id(resume_header, resume_query)
        generation = await sync_to_thread(service.get, services.uow, request.user, generation_id)
        return EventStream(
            services.feed,
            request.user.user_id,
            generation_id,
            after=after,
            has_ended=has_ended(generation.status),
            heartbeat_s=services.settings.events.heartbeat_s,
        )

    @get("/events", responses={200: _SPEC[200]}, refuses=refusals.STREAMED)
    async def of_user(
        self,
        request: ApiRequest,
        services: NamedDependency[Services],
        resume_header: ResumeHeader = None,
        resume_query: ResumeQuery = None,
    ) -> ASGIResponse:
        """Stream what happens to the caller's generations from now on, or after the last known event."""
        return EventStream(
            services.feed,
            request.user.user_id,
            None,
            after=_last_id(resume_header, resume_query),
            heartbeat_s=services.settings.events.heartbeat_s,
        )


def _last_id(header: str | None, query: str | None) -> int | None:
    """Return the id after which to resume; the header is newer, since browsers set it when they reconnect.

    Raises:
        InputInvalid: it is not an id.

    """
    name, text = ("Last-Event-ID", header) if header else ("lastEventId", query)
    if not text:
        return None
    is_number = text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS
    if not (is_number and int(text) <= MAX_ID):
        raise InputInvalid({name: [f"{name} must be the id of an event: a whole number from 0 to {MAX_ID}"]})
    return int(text)
