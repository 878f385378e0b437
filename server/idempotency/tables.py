"""The table of answers to requests with an idempotency key."""

from datetime import datetime

from sqlalchemy import ForeignKey, LargeBinary, String
from sqlalchemy.orm import Mapped, mapped_column

from server.clock import now
from server.db.base import DELETABLE, Table


class KeptAnswer(Table):
    """The first successful answer to a request that named an idempotency key."""

    __tablename__ = "kept_answers"
    __table_args__ = (DELETABLE,)

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    request_digest: Mapped[str]
    """Recognises another request under the same key."""
    answer: Mapped[bytes] = mapped_column(LargeBinary)
    """The body of the answer, byte for byte."""
    created_at: Mapped[datetime] = mapped_column(default=now, index=True)
