"""Whether the process lives, and whether it can serve."""

from typing import Any

from litestar import Response, get
from litestar.di import NamedDependency

from server.db.unit_of_work import UnitOfWork
from server.errors import DatabaseAway
from server.queues.bell import Bell
from server.services import Services

UNAVAILABLE = 503


@get("/health", public=True, sync_to_thread=True)
def health(services: NamedDependency[Services]) -> dict[str, Any]:
    """Tell the existing front end that the application is up, and operators what it lacks."""
    ready, checks = readiness(services.uow, services.bell)
    return {"status": "ok", "app": "avatar-creator", "ready": ready, "checks": checks}


@get("/healthz", public=True, sync_to_thread=False)
def alive() -> dict[str, str]:
    """Answer as long as the process does."""
    return {"status": "ok"}


@get("/readyz", public=True, sync_to_thread=True)
def ready(services: NamedDependency[Services]) -> Response[dict[str, Any]]:
    """Answer 200 if generations are accepted, 503 with the reasons if not."""
    is_ready, checks = readiness(services.uow, services.bell)
    healthy = all(word == "ok" for word in checks.values())
    status = ("ok" if healthy else "degraded") if is_ready else "unavailable"
    return Response({"status": status, "checks": checks}, status_code=200 if is_ready else UNAVAILABLE)


def readiness(uow: UnitOfWork, bell: Bell) -> tuple[bool, dict[str, str]]:
    """Return whether generations are accepted, and a sentence on each thing that this takes.

    Redis is not one of them: without it they wait for the reaper of a worker.
    """
    checks = {"database": "ok", "catalogue": "ok", "redis": "ok"}
    accepts = False
    try:
        with uow.read() as tx:
            entries, malformed = tx.entries.examined()
        accepts = any(entry.enabled for entry in entries)
        if malformed:
            checks["catalogue"] = ". ".join(str(error) for error in malformed)
        elif not accepts:
            checks["catalogue"] = "No entry is enabled. Run 'avatar-creator seed'"
    except DatabaseAway:
        checks["database"] = checks["catalogue"] = "The database does not answer, or is not migrated"
    if bell.waiting() is None:
        checks["redis"] = "Redis does not answer: generations wait for it or for a worker's next look"
    return accepts, checks
