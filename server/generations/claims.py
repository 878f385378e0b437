"""A worker's right to a generation for a limited time."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Claim:
    """A worker's right to one attempt at a generation. The attempt is the fencing number."""

    generation_id: str
    attempt: int
    worker: str


class LeaseLost(Exception):
    """The generation no longer belongs to this attempt: cancelled, timed out or given to another worker."""

    def __init__(self, claim: Claim) -> None:
        super().__init__(f"attempt {claim.attempt} at {claim.generation_id} has lost its lease")
        self.claim = claim
