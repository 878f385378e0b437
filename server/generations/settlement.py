"""Ending a generation: each end is one transaction with its credits and its event."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from server.db.tables import Avatar, Generation
from server.db.unit_of_work import Transaction, UnitOfWork
from server.events import log as events
from server.generations.states import Reason
from server.generations.store import Claim
from server.telemetry import get_log

log = get_log(__name__)

CANCELLED_BY_OPERATOR = "The generation was cancelled."


def complete(
    uow: UnitOfWork,
    claim: Claim,
    avatar: Avatar,
    making: Mapping[str, Any],
    seconds: Mapping[str, float],
    warnings: Sequence[str] = (),
) -> Generation:
    """Deliver an avatar: the avatar, the status, the capture and the event, fenced by the attempt.

    making: what the image was made with, as JSON values. seconds: by phase.

    Raises:
        LeaseLost: the generation is no longer this attempt's; nothing was changed.

    """
    with uow.begin() as tx:
        generation = tx.generations.complete(claim, avatar.id, making)
        tx.avatars.add(avatar)
        captured = _earned(tx, generation)
        tx.ledger.capture(generation.id, captured)
        tx.entries.count_use(generation.entry_key)
        tx.events.append(
            generation.id,
            events.COMPLETED,
            entry=generation.entry_key,
            attempt=claim.attempt,
            steps=generation.recipe["steps"],
            seconds=dict(seconds),
            making=dict(making),
            credits=captured,
            warnings=list(warnings),
        )
        # Every end goes the same way, the account, the day, the tallies: two never wait for each other.
        tx.spending.add(making["cost_microusd"])
        tx.tallies.count_completed(generation, seconds)
    return generation


def fail(
    uow: UnitOfWork,
    claim: Claim,
    reason: Reason,
    message: str,
    asked: Sequence[Mapping[str, Any]] = (),
) -> None:
    """Fail the attempt's generation and give its hold back. asked: what hosted providers were asked.

    Raises:
        LeaseLost: the generation is no longer this attempt's; nothing was changed.

    """
    with uow.begin() as tx:
        failed = [tx.generations.fail(claim, reason, message)]
        _give_back(tx, failed, asked)
        tx.spending.add(sum(one["cost_microusd"] for one in asked))
        tx.tallies.count_failed(failed)
    _log_failed(failed, asked)


def release(uow: UnitOfWork, claim: Claim) -> None:
    """Return the attempt's generation to the queue, as a worker does that is told to stop.

    Raises:
        LeaseLost: the generation is no longer this attempt's; nothing was changed.

    """
    with uow.begin() as tx:
        tx.generations.release(claim)
        tx.events.append(claim.generation_id, events.RELEASED, attempt=claim.attempt)


def pass_on(uow: UnitOfWork, claim: Claim, reason: Reason, message: str) -> None:
    """Leave what the attempt failed to draw to another backend: same generation, same hold, nothing charged.

    Raises:
        LeaseLost: the generation is no longer this attempt's; nothing was changed.

    """
    with uow.begin() as tx:
        tx.generations.release(claim, passed_on=True)
        told = {"attempt": claim.attempt, "reason": reason.value}
        tx.events.append(claim.generation_id, events.PASSED_ON, **told)
    log.warning("generation.passed_on", generation_id=claim.generation_id, cause=message, **told)


def cancel(uow: UnitOfWork, generation_ids: Iterable[str]) -> int:
    """Cancel those of the generations that have not ended, give their holds back, return how many."""
    ids = list(generation_ids)
    with uow.begin() as tx:
        running = tx.generations.fail_running(ids, Reason.CANCELLED, CANCELLED_BY_OPERATOR)
        waiting = tx.generations.fail_waiting(ids, Reason.CANCELLED, CANCELLED_BY_OPERATOR)
        cancelled = [*running, *waiting]
        _give_back(tx, cancelled)
        tx.tallies.count_failed(cancelled)
    _log_failed(cancelled)
    return len(cancelled)


def fail_waiting(uow: UnitOfWork, generation_ids: Iterable[str], reason: Reason, message: str) -> int:
    """Fail those of the generations that still wait, give their holds back, return how many."""
    with uow.begin() as tx:
        failed = tx.generations.fail_waiting(generation_ids, reason, message)
        _give_back(tx, failed)
        tx.tallies.count_failed(failed)
    _log_failed(failed)
    return len(failed)


def lose(uow: UnitOfWork, worker: str | None = None) -> int:
    """Return to the queue what a dead worker held, or by default all whose lease has run out."""
    with uow.begin() as tx:
        lost = tx.generations.lose(worker=worker)
        if worker:
            tx.workers.forget(worker)
        for generation in lost:
            tx.events.append(generation.id, events.LOST, attempt=generation.attempt, worker=generation.worker)
    for generation in lost:
        log.warning(
            "generation.lost",
            generation_id=generation.id,
            attempt=generation.attempt,
            losses=generation.losses,
            worker=generation.worker,
        )
    return len(lost)


def _earned(tx: Transaction, generation: Generation) -> int:
    """Return the credits that what was delivered costs: the hold, or less where the adapter is not on it.

    An adapter that was to be applied and was not leaves the base model's image, at the base entry's price.
    """
    making = generation.making or {}
    if making.get("adapter") == generation.recipe["adapter"]:
        return generation.credits
    price = tx.entries.price_without_adapter(generation.model_id)
    return min(generation.credits, price or 0)


def _give_back(
    tx: Transaction, failed: Iterable[Generation], asked: Sequence[Mapping[str, Any]] = ()
) -> None:
    for generation in failed:
        tx.ledger.void(generation.id)
        told = {"attempt": generation.attempt, "reason": generation.error_code}
        tx.events.append(generation.id, events.FAILED, **told, **({"asked": list(asked)} if asked else {}))


def _log_failed(failed: Iterable[Generation], asked: Sequence[Mapping[str, Any]] = ()) -> None:
    for generation in failed:
        log.warning(
            "generation.failed",
            generation_id=generation.id,
            entry=generation.entry_key,
            attempt=generation.attempt,
            cause=generation.error_message,
            credits_given_back=generation.credits,
            **({"asked": list(asked)} if asked else {}),
        )
