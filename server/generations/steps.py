"""Recording how far the drawing of a generation is."""

from server.db.unit_of_work import UnitOfWork
from server.events.repository import Events
from server.events.tables import Kind
from server.generations.claims import Claim
from server.generations.previews import Previews
from server.generations.repository import Generations


def record_step(
    uow: UnitOfWork, claim: Claim, phase: str, step: int, steps: int, preview: bytes | None = None
) -> bool:
    """Record an attempt's phase, in the phase of steps how many of them are done, and a picture of them.

    Return whether somebody wants to see the next picture.

    Raises:
        LeaseLost: the generation is no longer this attempt's; nothing was recorded.

    """
    with uow.begin() as tx:
        Generations(tx).lock(claim)
        Events(tx).append(
            claim.generation_id, Kind.STEP, attempt=claim.attempt, phase=phase, step=step, steps=steps
        )
        previews = Previews(tx)
        if preview is not None:
            previews.keep(claim.generation_id, step, preview)
        return previews.is_wanted(claim.generation_id)
