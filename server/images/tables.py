"""The table of the database's identity."""

from sqlalchemy import CheckConstraint
from sqlalchemy.orm import Mapped, mapped_column

from server.db.base import READ_ONLY, Table


class DatabaseIdentity(Table):
    """The name of this database, random and made by the migration. The one row stays in a backup."""

    __tablename__ = "database_identity"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"), READ_ONLY)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    identity: Mapped[str]
