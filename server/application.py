"""The API process. It never imports torch."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING

from litestar import Litestar, Router
from litestar.config.cors import CORSConfig
from litestar.datastructures import State
from litestar.di import Provide
from litestar.middleware import DefineMiddleware
from litestar.openapi import OpenAPIConfig
from litestar.plugins.pydantic import PydanticPlugin

from server.db.engine import open_engine
from server.db.unit_of_work import UnitOfWork
from server.http.authentication import BearerAuthentication
from server.http.envelope import answer_error
from server.http.event_feed import EventFeed
from server.http.event_messages import EventMessages
from server.http.request import MAX_BODY_BYTES, ApiRequest, add_request_id, refuse_nul
from server.http.services import Services
from server.images.links import Links, shared_secret
from server.images.store import ImageStore
from server.routes.avatars import AvatarController
from server.routes.credits import CreditController
from server.routes.entries import EntryController
from server.routes.events import EventController
from server.routes.generations import GenerationController
from server.routes.images import read_image
from server.routes.operations import alive, health, metrics, ready
from server.routes.projects import ProjectController
from server.scheduling.estimates import Estimates
from server.scheduling.reaper import Reaper
from server.scheduling.wakeups import WakeUps
from server.settings import Settings

if TYPE_CHECKING:
    from litestar.types import ControllerRouterHandler

PREFIXES = ("/api/avatar-creator", "/api/apps/avatar-creator")


def create_app(settings: Settings) -> Litestar:
    """Return the API on a migrated database."""
    uow = UnitOfWork(open_engine(settings.database.url))
    wakeups = WakeUps(settings)
    images = ImageStore(settings.server.images_dir)
    links = Links(shared_secret(settings.server.data_dir))
    estimates = Estimates()
    feed = EventFeed(
        uow,
        EventMessages(links, estimates).encode,
        period_s=settings.events.poll_s,
        most=settings.events.streams,
        most_per_user=settings.events.streams_per_user,
    )
    reaper = Reaper(uow, wakeups, images, settings)
    nouns: list[ControllerRouterHandler] = [
        ProjectController,
        GenerationController,
        EventController,
        AvatarController,
        health,
    ]
    services = Services(settings, uow, wakeups, images, links, estimates, feed)

    def provide() -> Services:
        return services

    return Litestar(
        route_handlers=[
            *(Router(path=prefix, route_handlers=nouns) for prefix in PREFIXES),
            EntryController,
            CreditController,
            read_image,
            alive,
            ready,
            metrics,
        ],
        state=State({"uow": uow, "feed": feed}),
        dependencies={"services": Provide(provide, sync_to_thread=False)},
        middleware=[
            refuse_nul,
            DefineMiddleware(BearerAuthentication, exclude_from_auth_key="public", exclude=["^/schema"]),
        ],
        request_class=ApiRequest,
        exception_handlers={Exception: answer_error},
        before_send=[add_request_id],
        cors_config=CORSConfig(
            allow_origins=list(settings.server.cors_origins),
            allow_headers=["Authorization", "Content-Type", "Last-Event-ID"],
            expose_headers=["X-Request-Id", "Retry-After"],
        ),
        plugins=[PydanticPlugin(prefer_alias=True, validate_strict=True)],
        openapi_config=OpenAPIConfig(title="Avatar Creator", version="1"),
        request_max_body_size=MAX_BODY_BYTES,
        logging_config=None,  # the entrypoint has set the logs up for the whole process
        lifespan=[_reaping(reaper, uow), _reading(feed)],
    )


def _reaping(reaper: Reaper, uow: UnitOfWork) -> Callable[[Litestar], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncIterator[None]:
        stopped = threading.Event()
        thread = threading.Thread(target=reaper.run, args=(stopped,), name="reaper", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join(timeout=10)
            uow.close()

    return lifespan


def _reading(feed: EventFeed) -> Callable[[Litestar], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncIterator[None]:
        task = asyncio.create_task(feed.run())
        try:
            yield
        finally:
            feed.stop()
            await task

    return lifespan
