"""Requests that their clients repeat without an idempotency key, in the database. See ADR 39."""

from datetime import timedelta
from typing import Final
from uuid import uuid4

from sqlalchemy import delete, or_, select, update

from server.clock import now
from server.db.unit_of_work import Repository
from server.idempotency.tables import RepeatableRequest

KEPT: Final = timedelta(hours=1)
ANSWERED: Final = timedelta(minutes=1)
"""How long a request whose answer was sent can be repeated: the connection may have broken on the way."""


class RepeatableRequests(Repository):
    """Keeps what was accepted for requests, and gives it to their repetitions."""

    def keep(self, user_id: str, digest: str, generation_ids: list[str]) -> str:
        """Keep what was accepted for a request; return the id of the record."""
        record = RepeatableRequest(
            id=str(uuid4()), user_id=user_id, digest=digest, generation_ids=generation_ids
        )
        self._session.add(record)
        self._session.flush()
        return record.id

    def resume(self, user_id: str, digest: str) -> RepeatableRequest | None:
        """Return what a repetition takes up; None if no equal request was accepted.

        Of several equal requests it is one that was not answered, and that no repetition has taken up since
        the others. The caller holds the lock of the user, so that two repetitions take up two.
        """
        moment = now()
        record = self._session.scalar(
            select(RepeatableRequest)
            .where(
                RepeatableRequest.user_id == user_id,
                RepeatableRequest.digest == digest,
                RepeatableRequest.created_at > moment - KEPT,
                or_(
                    RepeatableRequest.answered_at.is_(None),
                    RepeatableRequest.answered_at > moment - ANSWERED,
                ),
            )
            .order_by(
                RepeatableRequest.answered_at.is_not(None),
                RepeatableRequest.resumed_at.is_not(None),
                RepeatableRequest.resumed_at,
                RepeatableRequest.created_at.desc(),
            )
            .limit(1)
        )
        if record is not None:
            record.resumed_at = moment
        return record

    def answered(self, record_id: str) -> None:
        """Note that the answer of a request was sent."""
        self._session.execute(
            update(RepeatableRequest).where(RepeatableRequest.id == record_id).values(answered_at=now())
        )

    def forget(self) -> int:
        """Delete what is too old to be repeated; return how many records these were."""
        deleted = self._session.scalars(
            delete(RepeatableRequest)
            .where(RepeatableRequest.created_at < now() - KEPT)
            .returning(RepeatableRequest.id)
        )
        return len(deleted.all())
