"""The base of all errors that a caller is told of, and those that belong to no noun.

One class a cause, its data as attributes, its message made in `__str__`. What status and code each has over
HTTP is the affair of `server/http/errors.py`.
"""

from dataclasses import dataclass


class DomainError(Exception):
    """Something that a caller did, or met, and can be told in words."""


@dataclass
class NotFound(DomainError):
    """The resource does not exist, or belongs to another user."""

    noun: str

    def __str__(self) -> str:
        return f"{self.noun} not found"


class DatabaseAway(DomainError):
    """The database does not answer. Nothing was changed."""

    retry_after_s = 5

    def __str__(self) -> str:
        return "The service is temporarily unavailable. Please try again later"
