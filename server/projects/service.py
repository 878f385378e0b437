"""The use cases of projects; `generations.deletion` deletes one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import uuid4

from server.avatars.repository import Avatars
from server.avatars.tables import Avatar
from server.caller import Caller
from server.db.unit_of_work import UnitOfWork
from server.projects.repository import Position, Projects
from server.projects.tables import Project

AVATARS_AT_ONCE: Final = 2_000
"""The avatars that an answer has at most, of all its projects together: 2 MB of JSON."""
FIRST: Final = "My avatars"
"""The name of the project that is made for whoever has none."""


@dataclass(frozen=True)
class ProjectWithAvatars:
    """A project and its avatars, newest first. more_avatars: whether older ones were left out."""

    project: Project
    avatars: list[Avatar]
    more_avatars: bool


@dataclass(frozen=True)
class Page:
    """Some projects, newest first. more: whether older ones follow."""

    projects: list[ProjectWithAvatars]
    more: bool


def create(uow: UnitOfWork, caller: Caller, name: str, description: str | None = None) -> Project:
    """Create a project."""
    project = Project(id=str(uuid4()), user_id=caller.user_id, name=name, description=description)
    with uow.begin() as tx:
        Projects(tx).add(project)
    return project


def first(uow: UnitOfWork, caller: Caller) -> Project:
    """Return the caller's oldest project, made if there is none."""
    with uow.read() as tx:
        oldest = Projects(tx).oldest_of(caller.user_id)
    return oldest or create(uow, caller, FIRST)


def list_page(uow: UnitOfWork, caller: Caller, limit: int, *, after: Position | None = None) -> Page:
    """Return the caller's projects, newest first, after a row's creation time and id if given.

    They share AVATARS_AT_ONCE evenly: of each, so many of its newest avatars are there at most.
    """
    with uow.read() as tx:
        found = Projects(tx).newest_of(caller.user_id, limit + 1, after=after)
        projects = found[:limit]
        if not projects:
            return Page([], more=False)
        each = max(1, AVATARS_AT_ONCE // len(projects))
        avatars = Projects(tx).newest_avatars(caller.user_id, projects[0], len(projects), each + 1)
    listed = [_with_avatars(project, avatars.get(project.id, []), each) for project in projects]
    return Page(listed, more=len(found) > limit)


def get(uow: UnitOfWork, caller: Caller, project_id: str) -> ProjectWithAvatars:
    """Return one of the caller's projects.

    Raises:
        NotFound: there is none of this id, or it is another user's.

    """
    with uow.read() as tx:
        project = Projects(tx).owned_by(caller.user_id, project_id)
        avatars = Avatars(tx).of_project(project.id, AVATARS_AT_ONCE + 1)
    return _with_avatars(project, avatars, AVATARS_AT_ONCE)


def update(
    uow: UnitOfWork, caller: Caller, project_id: str, changes: Mapping[str, Any]
) -> ProjectWithAvatars:
    """Change the name or the description of one of the caller's projects; what is not named stays.

    Raises:
        NotFound: there is none of this id, or it is another user's.

    """
    with uow.begin() as tx:
        projects = Projects(tx)
        if changes:
            project = projects.change(caller.user_id, project_id, changes)
        else:
            project = projects.owned_by(caller.user_id, project_id)
        avatars = Avatars(tx).of_project(project.id, AVATARS_AT_ONCE + 1)
    return _with_avatars(project, avatars, AVATARS_AT_ONCE)


def _with_avatars(project: Project, avatars: list[Avatar], most: int) -> ProjectWithAvatars:
    return ProjectWithAvatars(project, avatars[:most], more_avatars=len(avatars) > most)
