"""Projects in the database."""

from typing import Final

from sqlalchemy import bindparam, select

from server.db.unit_of_work import Repository
from server.errors import NotFound
from server.projects.tables import Project

_PROJECTS: Final = Project.core()
_OWNED: Final = select(_PROJECTS.c.id).where(
    _PROJECTS.c.id == bindparam("of_project"), _PROJECTS.c.user_id == bindparam("of_user")
)


class Projects(Repository):
    """Reads and adds projects."""

    def add(self, project: Project) -> None:
        """Add a project."""
        self._session.add(project)
        self._session.flush()

    def owned_by(self, user_id: str, project_id: str) -> Project:
        """Return a user's project.

        Raises:
            NotFound: there is none of this id, or it is another user's.

        """
        project = self._session.scalar(
            select(Project).where(Project.id == project_id, Project.user_id == user_id)
        )
        if project is None:
            raise NotFound("Project")
        return project

    def require(self, user_id: str, project_id: str) -> None:
        """Check that a project is the user's, without reading it.

        Raises:
            NotFound: there is none of this id, or it is another user's.

        """
        of = {"of_user": user_id, "of_project": project_id}
        if self._session.connection().scalar(_OWNED, of) is None:
            raise NotFound("Project")

    def all_of(self, user_id: str) -> list[Project]:
        """Return a user's projects, newest first."""
        found = self._session.scalars(
            select(Project)
            .where(Project.user_id == user_id)
            .order_by(Project.created_at.desc(), Project.id.desc())
        )
        return list(found)
