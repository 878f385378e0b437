"""Projects in the database."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from sqlalchemy import bindparam, delete, func, select, update

from server.avatars.tables import Avatar
from server.db.unit_of_work import Repository
from server.errors import NotFound
from server.projects.tables import Project

_PROJECTS: Final = Project.core()
# FOR SHARE: until this transaction ends, nobody deletes the project that it adds something to.
_OWNED: Final = (
    select(_PROJECTS.c.id)
    .where(_PROJECTS.c.id == bindparam("of_project"), _PROJECTS.c.user_id == bindparam("of_user"))
    .with_for_update(read=True)
)


@dataclass(frozen=True)
class AvatarInProject:
    """An avatar and the project that it belongs to."""

    avatar: Avatar
    project: Project


class Projects(Repository):
    """Reads and changes projects, and reads avatars together with theirs."""

    def add(self, project: Project) -> None:
        """Add a project."""
        self._session.add(project)
        self._session.flush()

    def owned_by(self, user_id: str, project_id: str, *, kept: bool = False) -> Project:
        """Return a user's project. kept: nobody deletes it before the commit, as with `require`.

        Raises:
            NotFound: there is none of this id, or it is another user's.

        """
        wanted = select(Project).where(Project.id == project_id, Project.user_id == user_id)
        project = self._session.scalar(wanted.with_for_update(read=True) if kept else wanted)
        if project is None:
            raise NotFound("Project")
        return project

    def require(self, user_id: str, project_id: str) -> None:
        """Check that a project is the user's, without reading it. Nobody deletes it before the commit.

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

    def count(self, user_id: str) -> int:
        """Return how many projects a user has."""
        return self._session.scalar(select(func.count()).where(Project.user_id == user_id)) or 0

    def change(self, user_id: str, project_id: str, changes: Mapping[str, Any]) -> Project:
        """Change columns of a user's project; return it as it then is.

        Raises:
            NotFound: there is none of this id, or it is another user's.

        """
        changed = self._session.scalar(
            update(Project)
            .where(Project.id == project_id, Project.user_id == user_id)
            .values(**changes)
            .returning(Project)
            .execution_options(synchronize_session=False, populate_existing=True)
        )
        if changed is None:
            raise NotFound("Project")
        return changed

    def lock(self, user_id: str, project_id: str) -> None:
        """Keep everybody else from adding to a user's project until the commit, so that it can be deleted.

        Raises:
            NotFound: there is none of this id, or it is another user's.

        """
        # Stronger than FOR SHARE of `require`, and weaker than what the foreign keys of rows take that a
        # settlement adds: this transaction waits for settlements, so none of these may wait for it.
        locked = self._session.scalar(
            select(Project.id)
            .where(Project.id == project_id, Project.user_id == user_id)
            .with_for_update(key_share=True)
        )
        if locked is None:
            raise NotFound("Project")

    def delete(self, project_id: str) -> None:
        """Delete a project that has neither avatars nor generations."""
        self._session.execute(delete(_PROJECTS).where(_PROJECTS.c.id == project_id))

    def avatar(self, user_id: str, avatar_id: str) -> AvatarInProject:
        """Return a user's avatar with its project.

        Raises:
            NotFound: there is none of this id, or it is another user's.

        """
        found = self._session.execute(
            select(Avatar, Project)
            .join(Project, Project.id == Avatar.project_id)
            .where(Avatar.id == avatar_id, Avatar.user_id == user_id)
        ).one_or_none()
        if found is None:
            raise NotFound("Avatar")
        return AvatarInProject(*found)

    def avatars(self, user_id: str, limit: int | None, offset: int) -> list[AvatarInProject]:
        """Return a user's avatars with their projects, newest first. limit: None returns all."""
        rows = self._session.execute(
            select(Avatar, Project)
            .join(Project, Project.id == Avatar.project_id)
            .where(Avatar.user_id == user_id)
            .order_by(Avatar.created_at.desc(), Avatar.id.desc())
            .limit(limit)
            .offset(offset)
        )
        return [AvatarInProject(*row) for row in rows]
