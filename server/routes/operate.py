"""The routes by which operators look at the service and change the catalogue. See ADR 38."""

from typing import Annotated, Final, Literal, Self

from litestar import Controller, get, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from pydantic import Field

from server.credits.audit import AuditResult
from server.entries import service
from server.entries.errors import EntryUnknown
from server.http.bodies import Request, View, WireTime, examples
from server.http.errors import InputInvalid
from server.http.operators import operators_only
from server.http.services import Services
from server.observability.overview import Overview, Worker, overview
from server.observability.readiness import readiness
from server.settings.kinds import WHOLE

MIB: Final = 2**20


class WorkerView(View):
    """A worker. state: `ready`, `resting` while it takes nothing, or `gone` without a heartbeat.

    trouble: what an operator has to mend, in words.
    """

    name: str
    backend: str
    state: Literal["ready", "resting", "gone"]
    drawing: int
    device: str | None
    memory_used_mib: int | None
    memory_total_mib: int | None
    resident: list[str]
    mean_seconds: float | None
    trouble: str | None
    seen_at: WireTime

    @classmethod
    def of(cls, worker: Worker) -> Self:
        """Return a worker as operators read it."""
        row = worker.row
        used, total = (
            None if size is None else size // MIB for size in (row.memory_used_bytes, row.memory_total_bytes)
        )
        return cls(
            name=row.name,
            backend=row.backend,
            state="gone" if not worker.there else "ready" if row.accepts else "resting",
            drawing=worker.drawing,
            device=row.device,
            memory_used_mib=used,
            memory_total_mib=total,
            resident=row.resident or [],
            mean_seconds=row.mean_duration_s,
            trouble=row.last_error,
            seen_at=row.seen_at,
        )


class QueueView(View):
    """What waits of one tier."""

    tier: str
    waiting: int
    oldest_seconds: float


class OperatedEntry(View):
    """An entry, and what its generations did in the last hour. stages: the mean seconds of each."""

    model_key: str
    name: str
    tier: str
    credit_cost: int
    enabled: bool
    total_usage: int
    delivered: int
    per_minute: float
    mean_seconds: float | None
    stages: dict[str, float]


class HostedView(View):
    """What hosted providers cost since midnight in UTC. budget: a day's limit; null if there is none."""

    spent_usd: float
    budget_usd: float | None


class AuditView(View):
    """The last audit of the ledger. passed: no account differs from its postings, whose sum is zero."""

    passed: bool
    drifting_accounts: int
    postings_sum: int
    ended_at: WireTime

    @classmethod
    def of(cls, result: AuditResult) -> Self:
        """Return the result of an audit."""
        return cls(
            passed=not result.drifting_accounts and not result.postings_sum,
            drifting_accounts=result.drifting_accounts,
            postings_sum=result.postings_sum,
            ended_at=result.ended_at,
        )


class OverviewView(View):
    """The state of the service. checks: a sentence on each part. failures: of the last hour, by errorCode."""

    at: WireTime
    status: str
    checks: dict[str, str]
    workers: list[WorkerView]
    queue: list[QueueView]
    entries: list[OperatedEntry]
    malformed: list[str]
    failures: dict[str, int]
    hosted: HostedView
    credits_held: int
    audit: AuditView | None


class ChangeEntry(Request):
    """The body of PUT /api/operate/entries/{key}: what is named is changed."""

    model_config = examples({"creditCost": 9}, {"enabled": True})

    credit_cost: Annotated[int | None, Field(ge=0, le=WHOLE)] = None
    enabled: bool | None = None


class EntryChanged(View):
    """An entry was changed."""

    message: str
    model_key: str


class OperateController(Controller):
    """How the service is, and what is on offer. For operators."""

    path = "/api/operate"
    tags = ("operate",)
    guards = (operators_only,)

    @get(sync_to_thread=True)
    def look(self, services: NamedDependency[Services]) -> OverviewView:
        """Return the state of workers, queue, entries, spending and ledger."""
        found = overview(services.uow)
        ready = readiness(services.uow, services.wakeups, services.images, services.settings)
        budget = services.settings.hosted_budget_microusd
        return OverviewView(
            at=found.at,
            status=ready.status,
            checks=ready.checks,
            workers=[WorkerView.of(worker) for worker in found.workers],
            queue=[
                QueueView(tier=tier.value, waiting=queue.depth, oldest_seconds=queue.oldest_age_s)
                for tier, queue in found.queue.items()
            ],
            entries=_entries(found),
            malformed=[str(error) for error in found.malformed],
            failures=dict(found.failures),
            hosted=HostedView(spent_usd=found.spent_usd, budget_usd=None if budget is None else budget / 1e6),
            credits_held=found.credits_held,
            audit=None if found.audit is None else AuditView.of(found.audit),
        )

    @put("/entries/{key:str}", sync_to_thread=True, refuses=(EntryUnknown,))
    def change_entry(
        self, key: FromPath[str], data: JSONBody[ChangeEntry], services: NamedDependency[Services]
    ) -> EntryChanged:
        """Change an entry's price, or whether it is on offer. A quote that was given before still binds."""
        changes = {name: value for name, value in data.changes().items() if value is not None}
        if not changes:
            raise InputInvalid({"creditCost": ["creditCost or enabled: one must be named"]})
        found = service.change(services.uow, key, **changes)
        return EntryChanged(message=f"{found} is changed", model_key=found)


def _entries(found: Overview) -> list[OperatedEntry]:
    return [
        OperatedEntry(
            model_key=entry.key,
            name=entry.name,
            tier=entry.tier.value,
            credit_cost=entry.credit_cost,
            enabled=entry.enabled,
            total_usage=entry.total_usage,
            delivered=found.recent[entry.key].delivered,
            per_minute=found.recent[entry.key].per_minute,
            mean_seconds=found.recent[entry.key].mean_s,
            stages=dict(found.recent[entry.key].stages_s),
        )
        for entry in found.entries
    ]
