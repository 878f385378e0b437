"""The table of tallies."""

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from server.db.base import Table


class Tally(Table):
    """A counter. It grows in the transaction of what it counts."""

    __tablename__ = "tallies"

    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    entry: Mapped[str] = mapped_column(String(128), primary_key=True)
    part: Mapped[str] = mapped_column(primary_key=True)
    """An outcome or a stage of the entry; empty if the kind has none."""
    value: Mapped[int] = mapped_column(BigInteger)
