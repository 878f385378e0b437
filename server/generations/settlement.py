"""Ending a generation: each end is one transaction with its credits and its event."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any
from uuid import uuid4

from catalog.orders import Provenance
from server.avatars.repository import Avatars
from server.avatars.tables import Avatar, trait_values
from server.credits.repository import Ledger
from server.db.unit_of_work import Transaction, UnitOfWork
from server.entries.repository import Entries
from server.events.repository import Events
from server.events.tables import Kind
from server.generations.claims import Claim
from server.generations.repository import Generations
from server.generations.states import Reason
from server.generations.tables import Generation
from server.images.store import StoredImage
from server.logs import get_log
from server.spending.repository import Spending
from server.tallies.repository import Tallies

log = get_log(__name__)

CANCELLED = "The generation was cancelled."

Attempts = Sequence[Mapping[str, Any]]
"""What hosted providers were asked, as JSON values."""


def complete(
    uow: UnitOfWork,
    claim: Claim,
    image: StoredImage,
    provenance: Provenance,
    seconds: Mapping[str, float],
    warnings: Sequence[str] = (),
) -> Generation:
    """Deliver an image: the avatar, the status, the capture and the event, fenced by the attempt.

    seconds: by phase.

    Raises:
        LeaseLost: the generation is no longer this attempt's; nothing was changed.

    """
    with uow.begin() as tx:
        generation = Generations(tx).complete(claim, str(uuid4()), provenance)
        Avatars(tx).add(_avatar(generation, image))
        captured = _earned(tx, generation, provenance)
        Ledger(tx).capture(generation.id, captured)
        Events(tx).append(
            generation.id,
            Kind.COMPLETED,
            entry=generation.entry_key,
            attempt=claim.attempt,
            steps=generation.order.steps,
            seconds=dict(seconds),
            provenance=provenance.to_json(),
            credits=captured,
            warnings=list(warnings),
        )
        Spending(tx).add(provenance.cost_microusd)
        Tallies(tx).count_completed(generation.entry_key, generation.order.steps, seconds)
    return generation


def fail(uow: UnitOfWork, claim: Claim, reason: Reason, message: str, attempts: Attempts = ()) -> None:
    """Fail the attempt's generation and give its hold back.

    Raises:
        LeaseLost: the generation is no longer this attempt's; nothing was changed.

    """
    with uow.begin() as tx:
        failed = [Generations(tx).fail(claim, reason, message)]
        _give_back(tx, failed, attempts)
        Spending(tx).add(sum(attempt["cost_microusd"] for attempt in attempts))
        _count(tx, failed)
    log_failed(failed, attempts)


def release(uow: UnitOfWork, claim: Claim) -> None:
    """Return the attempt's generation to the queue, as a worker does that has to stop.

    Raises:
        LeaseLost: the generation is no longer this attempt's; nothing was changed.

    """
    with uow.begin() as tx:
        Generations(tx).release(claim)
        Events(tx).append(claim.generation_id, Kind.RELEASED, attempt=claim.attempt)


def fail_over(uow: UnitOfWork, claim: Claim, reason: Reason, message: str) -> None:
    """Leave what the attempt failed to draw to another backend: same generation, same hold, nothing charged.

    Raises:
        LeaseLost: the generation is no longer this attempt's; nothing was changed.

    """
    cause = {"attempt": claim.attempt, "reason": reason.value}
    with uow.begin() as tx:
        Generations(tx).release(claim, failed_over=True)
        Events(tx).append(claim.generation_id, Kind.FAILED_OVER, **cause)
    log.warning("generation.failed_over", generation_id=claim.generation_id, cause=message, **cause)


def cancel(uow: UnitOfWork, generation_ids: Iterable[str]) -> int:
    """Cancel those of the generations that have not ended, give their holds back, return how many."""
    with uow.begin() as tx:
        cancelled = cancel_within(tx, generation_ids)
    log_failed(cancelled)
    return len(cancelled)


def cancel_within(tx: Transaction, generation_ids: Iterable[str]) -> list[Generation]:
    """Cancel those of the generations that have not ended, give their holds back, return them.

    The caller calls `log_failed` after the commit.
    """
    # Locked first: one that a worker claims between the two statements below would escape both.
    ids = Generations(tx).lock_unfinished(generation_ids)
    running = Generations(tx).fail_running(ids, Reason.CANCELLED, CANCELLED)
    waiting = Generations(tx).fail_waiting(ids, Reason.CANCELLED, CANCELLED)
    Generations(tx).close_ranks(waiting)
    cancelled = [*running, *waiting]
    _give_back(tx, cancelled)
    _count(tx, cancelled)
    return cancelled


def fail_waiting(uow: UnitOfWork, generation_ids: Iterable[str], reason: Reason, message: str) -> int:
    """Fail those of the generations that still wait, give their holds back, return how many.

    Each in a transaction of its own, which locks one account and keeps nobody waiting for the others.
    """
    count = 0
    for generation_id in generation_ids:
        with uow.begin() as tx:
            failed = Generations(tx).fail_waiting([generation_id], reason, message)
            Generations(tx).close_ranks(failed)
            _give_back(tx, failed)
            _count(tx, failed)
        log_failed(failed)
        count += len(failed)
    return count


def return_lost(uow: UnitOfWork, worker: str | None = None) -> int:
    """Return to the queue what a dead worker held, or by default all whose lease has run out."""
    with uow.begin() as tx:
        lost = Generations(tx).return_lost(worker=worker)
        for generation in lost:
            cause = {"attempt": generation.attempt, "worker": generation.worker}
            Events(tx).append(generation.id, Kind.LOST, **cause)
    for generation in lost:
        log.warning(
            "generation.lost",
            generation_id=generation.id,
            attempt=generation.attempt,
            losses=generation.losses,
            worker=generation.worker,
        )
    return len(lost)


def _avatar(generation: Generation, image: StoredImage) -> Avatar:
    return Avatar(
        id=generation.avatar_id,
        user_id=generation.user_id,
        project_id=generation.project_id,
        generation_id=generation.id,
        name=generation.avatar_name,
        image_key=image.key,
        image_sha256=image.sha256,
        source_type=generation.source_type,
        generation_prompt=generation.prompt,
        seed_used=generation.order.seed,
        **trait_values(generation.traits),
    )


def _earned(tx: Transaction, generation: Generation, provenance: Provenance) -> int:
    """Return the credits that the delivered image costs: the hold, or less if it lacks its adapter.

    Without the adapter that was ordered, it is the base model's image, at the base entry's price.
    """
    if provenance.adapter == generation.order.adapter:
        return generation.credits
    price = Entries(tx).price_without_adapter(generation.model_id)
    return min(generation.credits, price or 0)


def _give_back(tx: Transaction, failed: Iterable[Generation], attempts: Attempts = ()) -> None:
    for generation in failed:
        Ledger(tx).void(generation.id)
        cause = {"attempt": generation.attempt, "reason": generation.error_code}
        asked = {"asked": list(attempts)} if attempts else {}
        Events(tx).append(generation.id, Kind.FAILED, **cause, **asked)


def _count(tx: Transaction, failed: Iterable[Generation]) -> None:
    Tallies(tx).count_failed((generation.entry_key, str(generation.error_code)) for generation in failed)


def log_failed(failed: Iterable[Generation], attempts: Attempts = ()) -> None:
    """Log each generation that failed, with the credits given back. One that was cancelled is no warning."""
    for generation in failed:
        write = log.info if generation.error_code == Reason.CANCELLED else log.warning
        write(
            "generation.failed",
            generation_id=generation.id,
            entry=generation.entry_key,
            attempt=generation.attempt,
            cause=generation.error_message,
            credits_given_back=generation.credits,
            **({"asked": list(attempts)} if attempts else {}),
        )
