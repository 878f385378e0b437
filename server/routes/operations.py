"""The routes that operators and their tools ask: health, readiness and metrics."""

import asyncio
from typing import Any, Final

from litestar import Response, get
from litestar.concurrency import sync_to_thread
from litestar.di import NamedDependency
from prometheus_client import generate_latest

from server.http.services import Services
from server.observability.metrics import registry
from server.observability.readiness import Readiness, readiness

UNAVAILABLE: Final = 503
FROZEN_S: Final = 3.0  # below the timeout of the container's health check
TEXT_FORMAT: Final = (
    "text/plain; version=0.0.4"  # Source: Prometheus, exposition formats; Litestar adds the charset
)


@get("/health", public=True, rate_limit="exempt", sync_to_thread=True)
def health(services: NamedDependency[Services]) -> dict[str, Any]:
    """Answer that the application is up, as the existing front end expects, and whether it accepts work."""
    return {"status": "ok", "app": "avatar-creator", "ready": _readiness(services).accepts}


@get("/healthz", public=True, rate_limit="exempt")
async def alive() -> Response[dict[str, str]]:
    """Answer 200 while the process can handle requests, 503 if all its threads have been busy for seconds."""
    try:
        async with asyncio.timeout(FROZEN_S):
            await sync_to_thread(lambda: None)
    except TimeoutError:
        return Response({"status": "frozen"}, status_code=UNAVAILABLE)
    return Response({"status": "ok"})


@get("/readyz", public=True, rate_limit="exempt", sync_to_thread=True)
def ready(services: NamedDependency[Services]) -> Response[dict[str, Any]]:
    """Answer 200 if generations are accepted, 503 with the reasons if not."""
    found = _readiness(services)
    body = {"status": found.status, "checks": found.checks}
    return Response(body, status_code=200 if found.accepts else UNAVAILABLE)


@get("/metrics", public=True, rate_limit="exempt", sync_to_thread=True, media_type=TEXT_FORMAT)
def metrics(services: NamedDependency[Services]) -> Response[bytes]:
    """Return the metrics in Prometheus' text format."""
    text = generate_latest(registry(services.uow, services.wakeups))
    return Response(text, media_type=TEXT_FORMAT)


def _readiness(services: Services) -> Readiness:
    return readiness(services.uow, services.wakeups, services.images, services.settings)
