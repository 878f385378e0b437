"""Errors that only HTTP knows, and the one place that maps every error to its status and contract code."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from catalog.selection import EntryBeyondTier, NoEntryAvailable, SizeRejected, UnknownEntry
from server.accounts.errors import CodeInvalid, TokenExpired, TokenInvalid, TooManyKeys, UserUnknown
from server.credits.errors import GrantDiffers, InsufficientCredits
from server.entries.errors import EntryUnknown
from server.errors import DatabaseAway, DomainError, NotFound, OutcomeUnknown
from server.generations.quotes import QuoteRefused
from server.generations.service import GenerationEnded
from server.generations.submission import QueueFull, TooManyUnfinished
from server.http.event_feed import StreamsFull, TooManyStreams
from server.idempotency.repository import KeyInFlight, KeyReused
from server.images.store import StorageFull
from server.spending.repository import BudgetSpent
from server.uploads.errors import DecodersBusy, ImageRefused


@dataclass
class InputInvalid(DomainError):
    """One or more fields of the request break their rules. problems: each field's messages."""

    problems: dict[str, list[str]]

    def __str__(self) -> str:
        return "; ".join(message for messages in self.problems.values() for message in messages)


@dataclass
class BodyUnreadable(DomainError):
    """The request's body is not what its content type says, or too large."""

    cause: str

    def __str__(self) -> str:
        return self.cause


class TokenMissing(DomainError):
    """No bearer token came with the request."""

    def __str__(self) -> str:
        return "Authentication required. Send the header 'Authorization: Bearer TOKEN'"


@dataclass
class DrawingFailed(DomainError):
    """None of the images of a request was drawn. What they cost was given back.

    code: the errorCode of the first. reason: its errorMessage, which says so in words.
    """

    code: str
    reason: str

    def __str__(self) -> str:
        return f"{self.reason} Its credits were given back"


class NotYetDrawn(DomainError):
    """The result of a request was asked for that has not ended."""

    def __str__(self) -> str:
        return "Request is still in progress"


class ClientGone(DomainError):
    """The client has left before its images were drawn. They are drawn all the same."""

    def __str__(self) -> str:
        return "The client has left"


class OperatorsOnly(DomainError):
    """The route is for operators, and the caller is none."""

    def __str__(self) -> str:
        return "Only operators may do this"


@dataclass
class EndpointNotFound(DomainError):
    """No route answers this path."""

    method: str
    path: str

    def __str__(self) -> str:
        return f"No endpoint for {self.method} {self.path}"


@dataclass
class MethodNotAllowed(DomainError):
    """The route does not take this method. allowed: those that it takes, as the header Allow lists them."""

    method: str
    path: str
    allowed: str

    def __str__(self) -> str:
        return f"{self.path} does not take {self.method}. It takes {self.allowed}"


@dataclass
class RateLimitExceeded(DomainError):
    """More requests came than a limit allows. limit: in words, such as `5 generations per minute`."""

    limit: str
    retry_after_s: int

    def __str__(self) -> str:
        return f"Too many requests: at most {self.limit}. Please try again in {self.retry_after_s} s"


class Meaning(NamedTuple):
    """The status and code of an error. Source: the contract, section 3."""

    status: int
    code: str


BUG: Final = Meaning(500, "INTERNAL_ERROR")
MEANINGS: Final[Mapping[type[Exception], Meaning]] = {
    InputInvalid: Meaning(400, "VALIDATION_ERROR"),
    BodyUnreadable: Meaning(400, "VALIDATION_ERROR"),
    UnknownEntry: Meaning(400, "VALIDATION_ERROR"),
    SizeRejected: Meaning(400, "VALIDATION_ERROR"),
    QuoteRefused: Meaning(400, "VALIDATION_ERROR"),
    ImageRefused: Meaning(400, "VALIDATION_ERROR"),
    TokenMissing: Meaning(401, "AUTHENTICATION_ERROR"),
    TokenInvalid: Meaning(401, "TOKEN_INVALID"),
    TokenExpired: Meaning(401, "TOKEN_EXPIRED"),
    CodeInvalid: Meaning(401, "TOKEN_INVALID"),
    InsufficientCredits: Meaning(402, "INSUFFICIENT_CREDITS"),
    EntryBeyondTier: Meaning(403, "ACCESS_DENIED"),
    OperatorsOnly: Meaning(403, "ACCESS_DENIED"),
    NotFound: Meaning(404, "RESOURCE_NOT_FOUND"),
    NoEntryAvailable: Meaning(404, "RESOURCE_NOT_FOUND"),
    UserUnknown: Meaning(404, "RESOURCE_NOT_FOUND"),
    EntryUnknown: Meaning(404, "RESOURCE_NOT_FOUND"),
    EndpointNotFound: Meaning(404, "ENDPOINT_NOT_FOUND"),
    MethodNotAllowed: Meaning(405, "METHOD_NOT_ALLOWED"),
    GenerationEnded: Meaning(409, "CONFLICT"),
    GrantDiffers: Meaning(409, "CONFLICT"),
    KeyReused: Meaning(409, "CONFLICT"),
    KeyInFlight: Meaning(409, "CONFLICT"),
    RateLimitExceeded: Meaning(429, "RATE_LIMIT_EXCEEDED"),
    TooManyUnfinished: Meaning(429, "RATE_LIMIT_EXCEEDED"),
    TooManyKeys: Meaning(409, "CONFLICT"),
    TooManyStreams: Meaning(429, "RATE_LIMIT_EXCEEDED"),
    DrawingFailed: Meaning(502, "AI_PROVIDER_ERROR"),
    NotYetDrawn: Meaning(400, "VALIDATION_ERROR"),
    ClientGone: Meaning(499, "CLIENT_GONE"),  # Source: nginx, whose log has this status then; nobody reads it
    StreamsFull: Meaning(503, "SERVICE_UNAVAILABLE"),
    QueueFull: Meaning(503, "SERVICE_UNAVAILABLE"),
    BudgetSpent: Meaning(503, "SERVICE_UNAVAILABLE"),
    DecodersBusy: Meaning(503, "SERVICE_UNAVAILABLE"),
    StorageFull: Meaning(503, "SERVICE_UNAVAILABLE"),
    DatabaseAway: Meaning(503, "SERVICE_UNAVAILABLE"),
    OutcomeUnknown: Meaning(503, "SERVICE_UNAVAILABLE"),
}
BUG_MESSAGE: Final = "An internal error occurred"


@dataclass(frozen=True)
class Described:
    """An error as every API of this server describes it, each in its own shape.

    details: the messages of each field at fault, in the order of the fields.
    """

    status: int
    code: str
    message: str
    details: Mapping[str, list[str]] = field(default_factory=dict)
    retry_after_s: int | None = None

    @property
    def field(self) -> str | None:
        """The first field at fault."""
        return next(iter(self.details), None)


def describe(error: Exception) -> Described:
    """Describe an error to a client. One that is not in MEANINGS is a bug: no detail of it leaks."""
    meaning = MEANINGS.get(type(error))
    if meaning is None:
        return Described(*BUG, BUG_MESSAGE)
    return Described(
        *meaning, str(error), _details(error), retry_after_s=getattr(error, "retry_after_s", None)
    )


def _details(error: Exception) -> Mapping[str, list[str]]:
    match error:
        case InputInvalid():
            return error.problems
        case UnknownEntry() | EntryBeyondTier():
            return {"modelKey": [str(error)]}
        case QuoteRefused():
            return {"quoteId": [str(error)]}
        case SizeRejected():
            return {error.field: [str(error)]}
        case ImageRefused():
            return {"image": [str(error)]}
        case _:
            return {}
