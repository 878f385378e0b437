"""What can go wrong with idempotency keys."""

from server.errors import DomainError


class KeyReused(DomainError):
    """The key came with another request before."""

    def __str__(self) -> str:
        return "This Idempotency-Key was used for another request. Use a new key for each request"


class KeyInFlight(DomainError):
    """A request with this key is being handled at this moment."""

    retry_after_s = 1

    def __str__(self) -> str:
        return "A request with this Idempotency-Key is being handled. Repeat it in a moment"
