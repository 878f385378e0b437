"""The kept answers in the database. Each is written in the transaction that spends, and read under a lock."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import delete

from server.clock import now
from server.db.base import try_lock
from server.db.unit_of_work import Repository
from server.errors import DomainError
from server.idempotency.tables import KeptAnswer

KEPT: Final = timedelta(hours=24)  # as Stripe keeps them


class KeyReused(DomainError):
    """The key came with another request before."""

    def __str__(self) -> str:
        return "This Idempotency-Key was used for another request. Use a new key for each request"


class KeyInFlight(DomainError):
    """A request with this key is being handled at this moment."""

    retry_after_s = 1

    def __str__(self) -> str:
        return "A request with this Idempotency-Key is being handled. Repeat it in a moment"


@dataclass(frozen=True)
class KeyedRequest:
    """A user's request under an idempotency key. digest: equal for equal requests."""

    user_id: str
    key: str
    digest: str


class KeptAnswers(Repository):
    """Reads and keeps answers."""

    def find(self, request: KeyedRequest) -> bytes | None:
        """Return the answer that an equal request got, and hold the key until the transaction ends.

        Raises:
            KeyInFlight: another transaction holds the key.
            KeyReused: another request had the key.

        """
        if not try_lock(self._session, f"idempotency {request.user_id} {request.key}"):
            raise KeyInFlight
        kept = self._session.get(KeptAnswer, (request.user_id, request.key))
        if kept is None:
            return None
        if kept.created_at < now() - KEPT:
            self._session.delete(kept)
            self._session.flush()
            return None
        if kept.request_digest != request.digest:
            raise KeyReused
        return kept.answer

    def keep(self, request: KeyedRequest, answer: bytes) -> None:
        """Keep the answer to a request whose key this transaction holds."""
        kept = KeptAnswer(
            user_id=request.user_id, key=request.key, request_digest=request.digest, answer=answer
        )
        self._session.add(kept)
        self._session.flush()

    def forget(self, before: datetime) -> int:
        """Delete the answers that were kept before a moment; return how many these were."""
        deleted = self._session.scalars(
            delete(KeptAnswer).where(KeptAnswer.created_at < before).returning(KeptAnswer.key)
        )
        return len(deleted.all())
