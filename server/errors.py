"""The errors that a client sees: one class a cause, its data as attributes, its message made here."""

from dataclasses import dataclass
from typing import ClassVar


class DomainError(Exception):
    """What a client did, or met, that the contract has a status and a code for."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "INTERNAL_ERROR"

    field: str | None = None
    """The field of the request that is at fault."""

    retry_after_s: int | None = None
    """How long to wait before the same request may succeed."""

    @property
    def details(self) -> dict[str, list[str]] | None:
        """Every field at fault with its messages."""
        return {self.field: [str(self)]} if self.field else None


@dataclass
class InputInvalid(DomainError):
    """One or more fields of the request break their rules."""

    problems: dict[str, list[str]]

    status, code = 400, "VALIDATION_ERROR"

    @property
    def field(self) -> str | None:  # type: ignore[override]  # derived here, stored in the base
        """The first field at fault."""
        return next(iter(self.problems), None)

    @property
    def details(self) -> dict[str, list[str]]:
        """Every field at fault with its messages."""
        return self.problems

    def __str__(self) -> str:
        return "; ".join(message for messages in self.problems.values() for message in messages)


@dataclass
class BodyUnreadable(DomainError):
    """The request's body is not what its content type says, or too large."""

    cause: str

    status, code = 400, "VALIDATION_ERROR"

    def __str__(self) -> str:
        return self.cause


class TokenMissing(DomainError):
    """No bearer token came with the request."""

    status, code = 401, "AUTHENTICATION_ERROR"

    def __str__(self) -> str:
        return "Authentication required. Send the header 'Authorization: Bearer TOKEN'"


class TokenInvalid(DomainError):
    """The bearer token is unknown or revoked."""

    status, code = 401, "TOKEN_INVALID"

    def __str__(self) -> str:
        return "The token is not valid"


@dataclass
class InsufficientCredits(DomainError):
    """The caller's available credits do not cover the price. Nothing was held."""

    required: int
    available: int

    status, code = 402, "INSUFFICIENT_CREDITS"

    def __str__(self) -> str:
        return f"Insufficient credits. Required: {self.required}, Available: {self.available}"


@dataclass
class AccessDenied(DomainError):
    """The request names an entry that the caller's tier does not reach."""

    model_key: str
    required: str
    tier: str

    status, code, field = 403, "ACCESS_DENIED", "modelKey"

    def __str__(self) -> str:
        return f"{self.model_key} needs the {self.required} tier; this account is {self.tier}"


@dataclass
class NotFound(DomainError):
    """The resource does not exist, or belongs to another user."""

    noun: str

    status, code = 404, "RESOURCE_NOT_FOUND"

    def __str__(self) -> str:
        return f"{self.noun} not found"


class NoModels(DomainError):
    """No entry of the catalogue is enabled within the caller's reach."""

    status, code = 404, "RESOURCE_NOT_FOUND"

    def __str__(self) -> str:
        return "No AI models available for Avatar Creator"


@dataclass
class EndpointNotFound(DomainError):
    """No route answers this method and path."""

    method: str
    path: str

    status, code = 404, "ENDPOINT_NOT_FOUND"

    def __str__(self) -> str:
        return f"No endpoint for {self.method} {self.path}"


@dataclass
class QueueFull(DomainError):
    """So many generations wait that a new one would not be drawn in time."""

    depth: int

    status, code, retry_after_s = 503, "SERVICE_UNAVAILABLE", 30

    def __str__(self) -> str:
        return f"{self.depth} generations are waiting. Please try again later"


@dataclass
class BudgetSpent(DomainError):
    """What may be spent on hosted providers in a day is spent; at midnight in UTC there is more."""

    retry_after_s: int

    status, code = 503, "SERVICE_UNAVAILABLE"

    def __str__(self) -> str:
        return "The service has reached its limit for today. Please try again tomorrow"


class DatabaseAway(DomainError):
    """The database does not answer. Nothing was changed."""

    status, code, retry_after_s = 503, "SERVICE_UNAVAILABLE", 5

    def __str__(self) -> str:
        return "The service is temporarily unavailable. Please try again later"


class Bug(DomainError):
    """The server's own fault; no detail leaks."""

    def __str__(self) -> str:
        return "An internal error occurred"
