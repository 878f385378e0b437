"""The routes of generations."""

from typing import Annotated, Final

from litestar import Controller, Response, delete, get, post
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import FromPath, FromQuery, JSONBody, QueryParameter

from server.caller import Caller
from server.db.unit_of_work import Transaction
from server.generations import previews, service
from server.generations.service import GenerationEnded
from server.generations.states import Status, has_ended
from server.generations.submission import Limits, accept
from server.http.bodies import Message
from server.http.event_messages import image_paths
from server.http.event_stream import until_ended
from server.http.idempotency import IdempotencyKey, Spent, spend_once
from server.http.paging import DEFAULT_LIMIT, Cursor, Limit, page_meta, position
from server.http.request import ApiRequest
from server.http.services import Services
from server.routes import refusals
from server.routes.generation_bodies import (
    DryRunAnswer,
    GenerateBody,
    GenerationAccepted,
    GenerationAnswer,
    GenerationCancelled,
    GenerationList,
    GenerationView,
    ProgressView,
    accepted,
)
from server.scheduling import offers
from server.settings import Settings

DryRunQuery = Annotated[
    bool, QueryParameter(name="dryRun", description="Say what the generation would be, and hold nothing.")
]

_QUEUED_OR_ASKED: Final = {
    200: ResponseSpec(
        GenerationAccepted | DryRunAnswer,  # type: ignore[arg-type]  # described as one of both
        generate_examples=False,
        description="What was or would be queued.",
    )
}


_PREVIEW: Final = {
    200: ResponseSpec(
        bytes,
        media_type="image/jpeg",
        generate_examples=False,
        description="A JPEG of an eighth of its size.",
    ),
    204: ResponseSpec(None, description="There is none yet."),
}


class GenerationController(Controller):
    """Submit generations, read, cancel and delete them."""

    tags = ("generations",)

    @post(
        "/projects/{project_id:str}/avatars/generate",
        status_code=200,
        sync_to_thread=True,
        rate_limit="generate",
        refuses=refusals.WISHED,
        responses=_QUEUED_OR_ASKED,
    )
    def generate(
        self,
        project_id: FromPath[str],
        data: JSONBody[GenerateBody],
        request: ApiRequest,
        services: NamedDependency[Services],
        idempotency_key: IdempotencyKey = None,
        dry_run: DryRunQuery = False,
    ) -> Response[GenerationAccepted] | Response[DryRunAnswer]:
        """Queue one generation and hold its price, or with `dryRun=true` say what it would be."""
        caller, limits = request.user, limits_of(services.settings)
        quote = services.quotes.read(data.quote_id, caller.user_id) if data.quote_id is not None else None
        asked = data.request(project_id, quote)
        if dry_run:
            found = offers.dry_run(services.uow, caller, asked, limits)
            return Response(DryRunAnswer.of(found, *services.quotes.sign(found.quote)))

        def spend(tx: Transaction) -> Spent[GenerationAccepted]:
            return accepted(accept(tx, caller, asked, limits), services.wakeups.note)

        return spend_once(services, request, idempotency_key, data, spend)

    @get("/generations/{generation_id:str}", refuses=refusals.STREAMED)
    async def read(
        self,
        generation_id: FromPath[str],
        request: ApiRequest,
        services: NamedDependency[Services],
        wait: Annotated[int, QueryParameter(ge=0, le=60, description="Seconds to wait for its end.")] = 0,
    ) -> GenerationAnswer:
        """Read one generation; with `wait`, as soon as it has ended or when the seconds are over."""
        caller = request.user
        view = await sync_to_thread(_follow, services, caller, generation_id)
        if wait and not has_ended(view.status):
            await until_ended(services.feed, caller.user_id, generation_id, wait, request.receive)
            view = await sync_to_thread(_follow, services, caller, generation_id)
        return GenerationAnswer(generation=view)

    @get("/generations/{generation_id:str}/preview", sync_to_thread=True, responses=_PREVIEW)
    def preview(
        self, generation_id: FromPath[str], request: ApiRequest, services: NamedDependency[Services]
    ) -> Response[bytes]:
        """Return a small JPEG of what is drawn so far, or 204 if there is none yet; 404 after the end.

        While it is asked for, a new one is made about every half second. `X-Step` is the step that it shows.
        """
        found = previews.look(services.uow, request.user, generation_id)
        if found is None:
            return Response(b"", status_code=204, media_type="image/jpeg")
        return Response(found.image, media_type="image/jpeg", headers={"X-Step": str(found.step)})

    @get("/generations", sync_to_thread=True)
    def list_page(
        self,
        request: ApiRequest,
        services: NamedDependency[Services],
        status: FromQuery[Status | None] = None,
        project_id: Annotated[str | None, QueryParameter(name="projectId", max_length=64)] = None,
        limit: Limit = DEFAULT_LIMIT,
        cursor: Cursor = None,
    ) -> GenerationList:
        """List the caller's generations, newest first, a page at a time."""
        after = position(cursor)
        page = service.list_page(
            services.uow, request.user, limit, after=after, status=status, project_id=project_id
        )
        last = page.generations[-1] if page.more else None
        return GenerationList(
            generations=[GenerationView.of(one) for one in page.generations],
            meta=page_meta(limit, (last.created_at, last.id) if last else None),
        )

    @post(
        "/generations/{generation_id:str}/cancel",
        status_code=200,
        sync_to_thread=True,
        refuses=(GenerationEnded,),
    )
    def cancel(
        self, generation_id: FromPath[str], request: ApiRequest, services: NamedDependency[Services]
    ) -> GenerationCancelled:
        """Cancel a generation that has not ended. Its hold is given back at once."""
        cancelled = service.cancel(services.uow, request.user, generation_id)
        return GenerationCancelled(
            message="Generation cancelled",
            generation=GenerationView.of(cancelled.generation),
            credit_balance=cancelled.balance,
        )

    @delete("/generations/{generation_id:str}", status_code=200, sync_to_thread=True)
    def remove(
        self, generation_id: FromPath[str], request: ApiRequest, services: NamedDependency[Services]
    ) -> Message:
        """Delete a generation, cancelled first if it has not ended. Its avatar stays."""
        service.delete(services.uow, request.user, generation_id)
        return Message(message="Generation deleted successfully")


def _follow(services: Services, caller: Caller, generation_id: str) -> GenerationView:
    with services.uow.read() as tx:
        followed = service.follow(tx, caller, generation_id)
        progress = services.estimates.progress(tx, followed.generation)
    paths = image_paths(services.links, followed.image_key)
    update = {
        "image_url": paths["imageUrl"],
        "thumbnail_url": paths["thumbnailUrl"],
        "progress": ProgressView.of(progress) if progress else None,
    }
    return GenerationView.of(followed.generation).model_copy(update=update)


def limits_of(settings: Settings) -> Limits:
    """Return what bounds acceptance. Local workers draw on when the day's budget is spent, so it does not."""
    budget_microusd = None if "local" in settings.worker.backends else settings.hosted_budget_microusd
    return Limits(settings.server.queue_max_depth, budget_microusd, settings.server.queue_max_per_user)
