"""Accepting a generation."""

import secrets
from dataclasses import asdict, dataclass
from uuid import uuid4

from catalog import selection
from catalog.prompts import compose
from catalog.selection import Choice, choose
from catalog.tiers import Tier
from server.auth.users import Caller
from server.avatars.schemas import Traits
from server.clock import now
from server.db.tables import Generation
from server.db.unit_of_work import Transaction, UnitOfWork
from server.errors import AccessDenied, InputInvalid, NoModels, QueueFull
from server.events import log as events
from server.generations.schemas import GenerateRequest
from server.generations.states import Status
from server.queues.bell import Bell


@dataclass(frozen=True)
class Submitted:
    """A generation that was accepted, what it holds and what is left."""

    generation: Generation
    credits: int
    balance: int


def submit(
    uow: UnitOfWork,
    bell: Bell,
    caller: Caller,
    project_id: str,
    request: GenerateRequest,
    *,
    max_depth: int,
    budget_microusd: int | None = None,
) -> Submitted:
    """Accept one generation: choose its entry, hold its price, queue it. All or nothing.

    The pending row is the queue; the bell only wakes a worker, and may fail.

    Raises:
        NotFound, InputInvalid, AccessDenied, NoModels, QueueFull, BudgetSpent, InsufficientCredits: nothing
            was queued and nothing held.

    """
    with uow.begin() as tx:
        tx.projects.require(caller.user_id, project_id)
        choice = _chosen(tx, caller.tier, request)
        if (depth := tx.generations.depth()) >= max_depth:
            raise QueueFull(depth)
        tx.spending.check(budget_microusd)
        generation = _pending(caller, project_id, request, choice)
        tx.generations.add(generation)
        description = f"Avatar generation: {choice.entry.name}"
        balance = tx.ledger.hold(caller.user_id, choice.credits, generation.id, description)
        tx.events.append(generation.id, events.QUEUED, entry=choice.entry.key, credits=choice.credits)
    bell.ring(generation.id)
    return Submitted(generation, choice.credits, balance)


def _chosen(tx: Transaction, tier: Tier, request: GenerateRequest) -> Choice:
    """Choose from the catalogue, its causes told as the client's errors."""
    try:
        return choose(tx.entries.all(), tier, request.wish())
    except selection.NoEntryAvailable as error:
        raise NoModels from error
    except selection.UnknownEntry as error:
        raise InputInvalid({"modelKey": [f"modelKey is no available model: {error.model_key}"]}) from error
    except selection.EntryBeyondTier as error:
        raise AccessDenied(error.model_key, error.required, error.tier) from error
    except selection.SizeRejected as error:
        raise InputInvalid({error.field: [str(error)]}) from error


def _pending(caller: Caller, project_id: str, request: GenerateRequest, choice: Choice) -> Generation:
    entry = choice.entry
    seed = request.seed if request.seed is not None else secrets.randbelow(2**32)
    moment = now()
    return Generation(
        id=str(uuid4()),
        user_id=caller.user_id,
        project_id=project_id,
        status=Status.PENDING.value,
        prompt=request.prompt,
        entry_key=entry.key,
        entry_name=entry.name,
        model_id=entry.model_id,
        credits=choice.credits,
        attempt=0,
        losses=0,
        passed_on=False,
        created_at=moment,
        updated_at=moment,
        # The fields of inference's Order, as they are now: a later change of the entry changes nothing here.
        recipe={
            "model_id": entry.model_id,
            "revision": entry.revision,
            "adapter": asdict(entry.adapter) if entry.adapter else None,
            "prompt": compose(request.prompt, request.appearance(), request.persona(), entry.quality_terms),
            "width_px": choice.width_px,
            "height_px": choice.height_px,
            "steps": entry.steps,
            "guidance_scale": entry.guidance_scale,
            "max_text_tokens": entry.max_text_tokens,
            "seed": seed,
        },
        draft=request.model_dump(include={"name", *Traits.model_fields}),
    )
