"""Requests that their clients repeat without an idempotency key, in the database. See ADR 39."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from sqlalchemy import delete, or_, select, update

from server.clock import now
from server.db.unit_of_work import Repository
from server.idempotency.tables import RepeatableRequest

KEPT: Final = timedelta(hours=1)
ANSWERED: Final = timedelta(minutes=1)
"""How long a request whose answer was sent can be repeated: the connection may have broken on the way."""

UNREAD: Final = timedelta(minutes=5)
"""How long after its acceptance a request is repeated that names no count. Source: fal-client 1.0.3 waits two
minutes for an answer, and then for a second at most."""


class RepeatableRequests(Repository):
    """Keeps what was accepted for requests, and gives it to their repetitions."""

    def keep(self, record_id: str, user_id: str, digest: str, generation_ids: list[str]) -> None:
        """Keep what was accepted for a request. record_id: a new one."""
        record = RepeatableRequest(
            id=record_id, user_id=user_id, digest=digest, generation_ids=generation_ids
        )
        self._session.add(record)
        self._session.flush()

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

    def unread(self, user_id: str, digest: str) -> list[RepeatableRequest]:
        """Return the equal requests of the last minutes whose answers nobody is known to have read.

        The newest is the first. The caller holds the lock of the user.
        """
        found = self._session.scalars(
            select(RepeatableRequest)
            .where(
                RepeatableRequest.user_id == user_id,
                RepeatableRequest.digest == digest,
                RepeatableRequest.created_at > now() - UNREAD,
                RepeatableRequest.answered_at.is_(None),
            )
            .order_by(RepeatableRequest.created_at.desc())
        )
        return list(found)

    def answered(self, record_ids: Iterable[str]) -> None:
        """Note that the answers of some requests were sent, or read."""
        self._session.execute(
            update(RepeatableRequest)
            .where(RepeatableRequest.id.in_(list(record_ids)))
            .values(answered_at=now())
        )

    def forget(self) -> int:
        """Delete what is too old to be repeated; return how many records these were."""
        deleted = self._session.scalars(
            delete(RepeatableRequest)
            .where(RepeatableRequest.created_at < now() - KEPT)
            .returning(RepeatableRequest.id)
        )
        return len(deleted.all())
