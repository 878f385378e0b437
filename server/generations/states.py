"""The states of a generation as a table, to be checked against docs/architecture.md."""

from enum import StrEnum
from typing import Final


class Status(StrEnum):
    """The state of a generation."""

    PENDING = "pending"
    PROCESSING = "processing"
    COMPLETED = "completed"
    FAILED = "failed"


LEGAL: Final = {
    Status.PENDING: {Status.PROCESSING, Status.FAILED},
    Status.PROCESSING: {Status.PENDING, Status.COMPLETED, Status.FAILED},  # pending: released or lost
    Status.COMPLETED: set[Status](),
    Status.FAILED: set[Status](),
}
UNFINISHED: Final = tuple(status for status, targets in LEGAL.items() if targets)


def has_ended(status: str) -> bool:
    """Return whether a generation of this status has ended."""
    return not LEGAL[Status(status)]


class Reason(StrEnum):
    """Why a generation failed: its errorCode. Source: the contract, section 3."""

    MODEL_LOADING = "MODEL_LOADING"
    RATE_LIMIT_EXCEEDED = "RATE_LIMIT_EXCEEDED"
    GENERATION_TIMEOUT = "GENERATION_TIMEOUT"
    AI_PROVIDER_ERROR = "AI_PROVIDER_ERROR"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    CANCELLED = "CANCELLED"
    INTERNAL_ERROR = "INTERNAL_ERROR"


class IllegalTransition(ValueError):
    """A transition between two statuses that is not legal. This is a bug of the calling code."""

    def __init__(self, source: Status, target: Status) -> None:
        super().__init__(f"a generation cannot go from {source} to {target}")
        self.source = source
        self.target = target


def check(source: Status, target: Status) -> None:
    """Check that a transition is legal.

    Raises:
        IllegalTransition: it is not legal.

    """
    if target not in LEGAL[source]:
        raise IllegalTransition(source, target)
