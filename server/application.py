"""The API process. It never imports torch."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING

from litestar import Controller, Litestar, Router
from litestar.datastructures import State
from litestar.di import Provide
from litestar.middleware import DefineMiddleware
from litestar.plugins.pydantic import PydanticPlugin

from server.accounts.authentication import Authentication
from server.accounts.key_uses import KeyUses
from server.db.engine import open_database
from server.db.unit_of_work import UnitOfWork
from server.dialects.a1111.routes import A1111Controller
from server.dialects.fal.routes import FalController, FalQueueController
from server.dialects.huggingface.routes import HuggingFaceController
from server.dialects.openai.routes import OpenAIController
from server.dialects.replicate.routes import ReplicateController
from server.generations.quotes import Quotes
from server.http import openapi
from server.http.access_log import AccessLog
from server.http.alias import PREFIX, Alias
from server.http.authentication import BearerAuthentication
from server.http.cors import Cors
from server.http.envelope import answer_error
from server.http.event_feed import EventFeed
from server.http.event_messages import EventMessages
from server.http.heads import Heads
from server.http.lingering import Lingering
from server.http.openapi import Bodies, Refusals
from server.http.rate_limits import RateLimits, add_rate_limit, limit_address, limit_user
from server.http.request import MAX_BODY_BYTES, ApiRequest, complete_headers, refuse_malformed_targets
from server.http.services import Services
from server.images.links import Links, shared_secret
from server.images.store import ImageStore
from server.observability.listener import MetricsListener
from server.observability.metrics import exposition
from server.observability.readiness import SharedReadiness, readiness
from server.routes.avatars import AvatarController
from server.routes.catalogue import CatalogueController
from server.routes.credits import CreditController
from server.routes.entries import EntryController, read_models
from server.routes.events import EventController
from server.routes.generations import GenerationController
from server.routes.images import read_image
from server.routes.keys import KeyController
from server.routes.operate import OperateController
from server.routes.operated_users import OperatedUserController
from server.routes.operations import alive, health, ready
from server.routes.presets import PresetController, read_picture
from server.routes.projects import ProjectController
from server.routes.sign_in import read_me, sign_in
from server.routes.statistics import read_statistics
from server.routes.uploads import UploadController
from server.routes.usage import UsageController
from server.scheduling.estimates import Estimates
from server.scheduling.reaper import Reaper
from server.scheduling.wakeups import WakeUps
from server.settings import Settings
from server.supervisor.shutdown import keep_running
from server.uploads.decoders import Bounds, Decoders
from server.web.pages import HEADERS, Documentation, read_asset, read_documentation, read_page

if TYPE_CHECKING:
    from litestar.types import ControllerRouterHandler


def create_app(settings: Settings) -> Litestar:
    """Return the API on a migrated database."""
    uow = UnitOfWork(open_database(settings.database))
    wakeups = WakeUps(settings)
    images = ImageStore(settings.server.images_dir)
    secret = shared_secret(settings.server.data_dir)
    links, quotes = Links(secret), Quotes(secret)
    estimates = Estimates()
    feed = EventFeed(
        uow,
        EventMessages(links, estimates).encode,
        period_s=settings.events.poll_s,
        most=settings.events.streams,
        most_per_user=settings.events.streams_per_user,
    )
    reaper = Reaper(uow, images, settings)
    key_uses = KeyUses(uow)
    authentication = Authentication(
        uow, key_uses, settings.tokens.session_secret, settings.credits.welcome_credits
    )
    tasks: dict[str, Callable[[threading.Event], None]] = {
        "reaper": reaper.run,
        "key uses": key_uses.run,
        "wake-ups": wakeups.run,
    }
    metrics = _metrics_listener(settings, uow, wakeups)
    if metrics is not None:
        tasks["metrics"] = metrics.run
    nouns: list[ControllerRouterHandler] = [
        ProjectController,
        GenerationController,
        EventController,
        AvatarController,
        CatalogueController,
        PresetController,
        UploadController,
        read_models,
        UsageController,
        read_statistics,
        health,
    ]
    decoders = Decoders(Bounds(**settings.uploads.model_dump()))
    shared = SharedReadiness(partial(readiness, uow, wakeups, images, settings))
    services = Services(settings, uow, wakeups, images, links, quotes, decoders, estimates, feed, shared)

    def provide() -> Services:
        return services

    app = Litestar(
        route_handlers=[
            Router(path=PREFIX, route_handlers=nouns),
            Router(path="/api", route_handlers=[health]),
            EntryController,
            CreditController,
            KeyController,
            OperateController,
            OperatedUserController,
            *_dialects(settings),
            read_me,
            sign_in,
            read_page,
            read_documentation,
            read_asset,
            read_image,
            read_picture,
            health,
            alive,
            ready,
        ],
        state=State(
            {
                "authentication": authentication,
                "rate_limits": RateLimits(settings),
                "feed": feed,
                "metrics": metrics,
            }
        ),
        dependencies={"services": Provide(provide, sync_to_thread=False)},
        guards=[limit_user],
        middleware=[
            refuse_malformed_targets,
            limit_address,
            DefineMiddleware(BearerAuthentication, exclude_from_auth_key="public", exclude=["^/schema"]),
        ],
        request_class=ApiRequest,
        exception_handlers={Exception: answer_error},
        before_send=[complete_headers, add_rate_limit],
        plugins=[Bodies(), Refusals(), PydanticPlugin(prefer_alias=True, validate_strict=True)],
        openapi_config=openapi.config(Documentation(), HEADERS),
        request_max_body_size=MAX_BODY_BYTES,
        logging_config=None,  # the entrypoint has set the logs up for the whole process
        lifespan=[_running(uow, tasks), _reading(feed)],
        on_shutdown=[decoders.close],
    )
    # Litestar's middleware runs behind its routing; these concern what has no route as well.
    app.asgi_handler = AccessLog(
        Lingering(Cors(Heads(Alias(app.asgi_handler)), settings.server.cors_origins))
    )
    return app


def _dialects(settings: Settings) -> Iterator[type[Controller]]:
    """Yield the routes of the APIs of others that are switched on."""
    if settings.openai.api == "on":
        yield OpenAIController
    if settings.dialects.huggingface_api == "on":
        yield HuggingFaceController
    if settings.dialects.replicate_api == "on":
        yield ReplicateController
    if settings.dialects.fal_api == "on":
        yield from (FalController, FalQueueController)
    if settings.dialects.a1111_api == "on":
        yield A1111Controller


def _metrics_listener(settings: Settings, uow: UnitOfWork, wakeups: WakeUps) -> MetricsListener | None:
    port = settings.metrics.port
    if port is None:
        return None
    return MetricsListener(settings.metrics.host, port, partial(exposition, uow, wakeups))


def _running(
    uow: UnitOfWork, tasks: Mapping[str, Callable[[threading.Event], None]]
) -> Callable[[Litestar], AbstractAsyncContextManager[None]]:
    """Run each periodic task in a thread as long as the application runs, then close the database."""

    @asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncIterator[None]:
        stopped = threading.Event()
        threads = [
            threading.Thread(target=keep_running, args=(name, task, stopped), daemon=True)
            for name, task in tasks.items()
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            stopped.set()
            for thread in threads:
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
