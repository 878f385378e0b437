"""Whether the process lives, and whether it can serve."""

from typing import Any

from litestar import Response, get
from litestar.di import NamedDependency

from server.db.unit_of_work import Transaction
from server.errors import BudgetSpent, DatabaseAway
from server.services import Services
from server.settings import Settings

UNAVAILABLE = 503


@get("/health", public=True, sync_to_thread=True)
def health(services: NamedDependency[Services]) -> dict[str, Any]:
    """Tell the existing front end that the application is up, and operators what it lacks."""
    ready, checks = readiness(services)
    return {"status": "ok", "app": "avatar-creator", "ready": ready, "checks": checks}


@get("/healthz", public=True, sync_to_thread=False)
def alive() -> dict[str, str]:
    """Answer as long as the process does."""
    return {"status": "ok"}


@get("/readyz", public=True, sync_to_thread=True)
def ready(services: NamedDependency[Services]) -> Response[dict[str, Any]]:
    """Answer 200 if generations are accepted, 503 with the reasons if not."""
    is_ready, checks = readiness(services)
    healthy = all(word == "ok" for word in checks.values())
    status = ("ok" if healthy else "degraded") if is_ready else "unavailable"
    return Response({"status": status, "checks": checks}, status_code=200 if is_ready else UNAVAILABLE)


def readiness(services: Services) -> tuple[bool, dict[str, str]]:
    """Return whether generations are accepted, and a sentence on each thing that this takes.

    Redis is not one of them: without it they wait for the reaper of a worker.
    """
    checks = {"database": "ok", "catalogue": "ok", "redis": "ok"}
    accepts = False
    try:
        with services.uow.read() as tx:
            entries, malformed = tx.entries.examined()
            checks |= _hosted(tx, services.settings)
        accepts = any(entry.enabled for entry in entries)
        if malformed:
            checks["catalogue"] = ". ".join(str(error) for error in malformed)
        elif not accepts:
            checks["catalogue"] = "No entry is enabled. Run 'avatar-creator seed'"
    except DatabaseAway:
        checks["database"] = checks["catalogue"] = "The database does not answer, or is not migrated"
    if services.bell.waiting() is None:
        checks["redis"] = "Redis does not answer: generations wait for it or for a worker's next look"
    return accepts, checks


def _hosted(tx: Transaction, settings: Settings) -> dict[str, str]:
    """Return a sentence on the hosted providers, where these draw, and on those that they stand in for."""
    if settings.inference_backend == "local":
        return {}
    checks = {"hosted": "ok"}
    if troubles := tx.workers.troubles("huggingface"):
        checks["hosted"] = " ".join(troubles)
    if settings.inference_backend == "auto":
        ready = tx.workers.ready("local")
        checks["local"] = "ok" if ready else "No local worker is ready: hosted providers draw"
        if not tx.workers.ready("huggingface"):
            checks["hosted"] = "No hosted worker is ready: nothing steps in for local ones"
    if not settings.huggingface_api_key:
        return checks | {"hosted": "HUGGINGFACE_API_KEY is not set: what hosted providers are to draw fails"}
    try:
        tx.spending.check(settings.hosted_budget_microusd)
    except BudgetSpent:
        checks["hosted"] = "HOSTED_BUDGET_USD_PER_DAY is reached: nothing is asked until midnight in UTC"
    return checks
