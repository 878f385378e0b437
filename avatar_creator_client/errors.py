"""Errors of the client: one class a cause, its data as attributes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final


class AvatarCreatorError(Exception):
    """The base class of all errors of the client."""


@dataclass
class Unreachable(AvatarCreatorError):
    """The server does not answer, after all repetitions. cause: in words."""

    cause: str

    def __str__(self) -> str:
        return f"The server does not answer: {self.cause}"


@dataclass
class WaitedTooLong(AvatarCreatorError):
    """The generation had not ended when the time was over. It goes on; `wait` may be called again."""

    generation_id: str
    timeout_s: float

    def __str__(self) -> str:
        return f"The generation {self.generation_id} did not end in {self.timeout_s:g} s. It goes on"


@dataclass
class GenerationFailed(AvatarCreatorError):
    """The generation ended without an image. Its price was given back. reason: its errorCode."""

    generation_id: str
    reason: str
    message: str

    def __str__(self) -> str:
        return f"{self.message} ({self.reason}). Its credits were given back"


@dataclass
class ApiError(AvatarCreatorError):
    """The server refused a request.

    code: as in the API's documentation. details: the messages of each field at fault.
    retry_after_s: the seconds after which it may be sent again. request_id: by which an operator finds it.
    """

    status: int
    code: str
    message: str
    details: Mapping[str, Sequence[str]] = field(default_factory=dict)
    retry_after_s: float | None = None
    request_id: str | None = None

    def __str__(self) -> str:
        return self.message


class InputInvalid(ApiError):
    """400: a field breaks its rule; `details` has its name."""


class NotAuthenticated(ApiError):
    """401: the key is missing, unknown, revoked or expired."""


class InsufficientCredits(ApiError):
    """402: the account has too few credits. Nothing was held."""


class AccessDenied(ApiError):
    """403: the account's tier does not reach the model, or the account may not do this."""


class NotFound(ApiError):
    """404: there is none, or it is another user's."""


class Conflict(ApiError):
    """409: the generation has ended, or the idempotency key belongs to another request."""


class RateLimited(ApiError):
    """429: more requests than the limit allows; `retry_after_s` says when it allows one more."""


class Unavailable(ApiError):
    """503: the server cannot take the request now. Nothing was charged."""


class ServerFailed(ApiError):
    """Any other answer that is none: a bug of the server's, or of what stands before it."""


_CLASSES: Final[Mapping[int, type[ApiError]]] = {
    400: InputInvalid,
    401: NotAuthenticated,
    402: InsufficientCredits,
    403: AccessDenied,
    404: NotFound,
    409: Conflict,
    413: InputInvalid,
    429: RateLimited,
    503: Unavailable,
}


def refusal(status: int, body: Any, retry_after: str | None) -> ApiError:
    """Return the error behind an answer that is none. body: decoded; of any form if a proxy has answered."""
    envelope = body if isinstance(body, dict) else {}
    inside = envelope.get("error")
    inside = inside if isinstance(inside, dict) else {}
    message = inside.get("message") or f"The server answered with the status {status}"
    wait_s = float(retry_after) if retry_after is not None and retry_after.isdecimal() else None
    return _CLASSES.get(status, ServerFailed)(
        status=status,
        code=str(inside.get("code", "UNKNOWN")),
        message=str(message),
        details=inside.get("details") or {},
        retry_after_s=wait_s,
        request_id=envelope.get("requestId"),
    )
