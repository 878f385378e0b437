"""The table of tallies."""

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from server.db.base import Table


class Tally(Table):
    """A number that only grows, in the transaction that makes it grow."""

    __tablename__ = "tallies"

    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    entry: Mapped[str] = mapped_column(String(128), primary_key=True)
    part: Mapped[str] = mapped_column(primary_key=True)
    """What of the entry: an outcome, a stage; empty if there is but one."""
    value: Mapped[int] = mapped_column(BigInteger)
