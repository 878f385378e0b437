"""Projects in the database."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import ColumnElement, bindparam, delete, func, literal, select, update
from sqlalchemy.orm import aliased

from server.avatars.tables import Avatar
from server.db.base import UtcDateTime
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


_NEWEST: Final = (Project.created_at.desc(), Project.id.desc())
_EVER: Final = datetime(1970, 1, 1, tzinfo=UTC)

Position = tuple[datetime, str]
"""When a row was created, and its id."""


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

    def newest_of(self, user_id: str, limit: int, *, after: Position | None = None) -> list[Project]:
        """Return a user's newest projects, after a row's creation time and id if given."""
        newest = select(Project).where(Project.user_id == user_id)
        if after is not None:
            newest = newest.where(*_before(after, Project.id < after[1]))
        return list(self._session.scalars(newest.order_by(*_NEWEST).limit(limit)))

    def oldest_of(self, user_id: str) -> Project | None:
        """Return a user's oldest project; None if there is none."""
        oldest = select(Project).where(Project.user_id == user_id)
        return self._session.scalar(oldest.order_by(Project.created_at, Project.id).limit(1))

    def newest_avatars(
        self, user_id: str, first: Project, projects: int, each: int
    ) -> dict[str, list[Avatar]]:
        """Return the newest avatars of so many projects from the first on, by project, newest first.

        each: how many of a project at most, so that no project's history is read. The number of parameters
        is the same for any number of projects.
        """
        other = aliased(Avatar)
        oldest_wanted = (
            select(other.created_at)
            .where(other.project_id == Project.id)
            .order_by(other.created_at.desc())
            .limit(1)
            .offset(each - 1)
            .scalar_subquery()
        )
        # In the inner query, so that it is asked once for each project and not for each avatar.
        listed = (
            select(Project.id, func.coalesce(oldest_wanted, literal(_EVER, UtcDateTime())).label("since"))
            .where(
                Project.user_id == user_id,
                *_before((first.created_at, first.id), Project.id <= first.id),
            )
            .order_by(*_NEWEST)
            .limit(projects)
            .subquery()
        )
        found = self._session.scalars(
            select(Avatar)
            .join(listed, listed.c.id == Avatar.project_id)
            .where(Avatar.created_at >= listed.c.since)
            .order_by(Avatar.created_at.desc(), Avatar.id.desc())
        )
        grouped: dict[str, list[Avatar]] = defaultdict(list)
        for avatar in found:
            if len(of_project := grouped[avatar.project_id]) < each:  # several may have the oldest time
                of_project.append(avatar)
        return grouped

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


def _before(position: Position, same_moment: ColumnElement[bool]) -> Iterator[ColumnElement[bool]]:
    """Yield that a project comes after a position, newest first. same_moment: where the times are equal."""
    moment, _ = position
    yield Project.created_at <= moment  # which an index can begin at
    yield (Project.created_at < moment) | same_moment
