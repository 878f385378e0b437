"""Recording how far the drawing of a generation is."""

from server.db.unit_of_work import UnitOfWork
from server.events.repository import Events
from server.events.tables import Kind
from server.generations.claims import Claim
from server.generations.repository import Generations


def record_step(uow: UnitOfWork, claim: Claim, phase: str, step: int, steps: int) -> None:
    """Record an attempt's phase, and in the phase of steps how many of them are done.

    Raises:
        LeaseLost: the generation is no longer this attempt's; nothing was recorded.

    """
    with uow.begin() as tx:
        Generations(tx).lock(claim)
        Events(tx).append(
            claim.generation_id, Kind.STEP, attempt=claim.attempt, phase=phase, step=step, steps=steps
        )
