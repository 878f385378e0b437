"""The routes that operators and their tools ask: health and readiness."""

import asyncio
from typing import Final, Literal

from litestar import Response, get
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from litestar.openapi.datastructures import ResponseSpec

from catalog.entries import APP_ID
from server.http.bodies import View
from server.http.services import Services
from server.observability.readiness import readiness

UNAVAILABLE: Final = 503
FROZEN_S: Final = 3.0  # below the timeout of the container's health check


class Health(View):
    """That the application is up. ready: whether it accepts generations."""

    status: Literal["ok"] = "ok"
    app: str = APP_ID
    ready: bool


class Alive(View):
    """Whether the process can handle requests."""

    status: Literal["ok", "frozen"]


class Ready(View):
    """Whether generations are accepted, and a sentence on each part."""

    status: str
    checks: dict[str, str]


@get("/health", public=True, rate_limit="exempt", sync_to_thread=True)
def health(services: NamedDependency[Services]) -> Health:
    """Answer that the application is up, as the existing front end expects, and whether it accepts work."""
    return Health(ready=services.health.get().accepts)


@get(
    "/healthz",
    public=True,
    rate_limit="exempt",
    responses={UNAVAILABLE: ResponseSpec(Alive, generate_examples=False, description="It is frozen.")},
)
async def alive() -> Response[Alive]:
    """Answer 200 while the process can handle requests, 503 if all its threads have been busy for seconds."""
    try:
        async with asyncio.timeout(FROZEN_S):
            await sync_to_thread(lambda: None)
    except TimeoutError:
        return Response(Alive(status="frozen"), status_code=UNAVAILABLE)
    return Response(Alive(status="ok"))


@get(
    "/readyz",
    public=True,
    rate_limit="exempt",
    sync_to_thread=True,
    responses={UNAVAILABLE: ResponseSpec(Ready, generate_examples=False, description="None is accepted.")},
)
def ready(services: NamedDependency[Services]) -> Response[Ready]:
    """Answer 200 if generations are accepted, 503 with the reasons if not."""
    found = readiness(services.uow, services.wakeups, services.images, services.settings)
    body = Ready(status=found.status, checks=found.checks)
    return Response(body, status_code=200 if found.accepts else UNAVAILABLE)
