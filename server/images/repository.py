"""The database's identity, by which it knows the folder of images that it owns."""

from sqlalchemy import select

from server.db.unit_of_work import Repository
from server.images.tables import DatabaseIdentity


class Identities(Repository):
    """Reads the identity of the database."""

    def own(self) -> str:
        """Return the identity of this database."""
        return self._session.scalars(select(DatabaseIdentity.identity)).one()
