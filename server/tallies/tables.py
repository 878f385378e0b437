"""The tables of tallies, and of what is not added to them yet."""

from sqlalchemy import BigInteger, String
from sqlalchemy.orm import Mapped, mapped_column

from server.db.base import DELETABLE, Serial, Table


class Tally(Table):
    """A counter."""

    __tablename__ = "tallies"

    kind: Mapped[str] = mapped_column(String(16), primary_key=True)
    entry: Mapped[str] = mapped_column(String(128), primary_key=True)
    part: Mapped[str] = mapped_column(primary_key=True)
    """An outcome or a stage of the entry; empty if the kind has none."""
    value: Mapped[int] = mapped_column(BigInteger)


class Uncounted(Table):
    """What a transaction has counted, until it is added to the tallies. Transactions share no row."""

    __tablename__ = "uncounted"
    __table_args__ = (DELETABLE,)

    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    kind: Mapped[str] = mapped_column(String(16))
    entry: Mapped[str] = mapped_column(String(128))
    part: Mapped[str]
    value: Mapped[int] = mapped_column(BigInteger)
