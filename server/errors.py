"""The base class of the errors of the domain, and those errors that belong to no noun.

One class a cause, its data as attributes, its message made in `__str__`. `server/http/errors.py` maps each to
a status and a code.
"""

from dataclasses import dataclass


class DomainError(Exception):
    """An error that a caller caused or met, and whose words the caller may read."""


@dataclass
class NotFound(DomainError):
    """The resource does not exist, or belongs to another user."""

    noun: str

    def __str__(self) -> str:
        return f"{self.noun} not found"


class DatabaseAway(DomainError):
    """The database does not answer. Nothing was changed."""

    retry_after_s: int | None = 5

    def __str__(self) -> str:
        return "The service is temporarily unavailable. Please try again later"


class OutcomeUnknown(DatabaseAway):
    """The database did not confirm a commit: everything may have been changed, or nothing."""

    retry_after_s = None  # a repetition is safe only with an idempotency key

    def __str__(self) -> str:
        return (
            "The database did not confirm the request, which may have been carried out. Look before you "
            "repeat it, or repeat it with the same Idempotency-Key"
        )
