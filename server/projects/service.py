"""The use cases of projects; `generations.deletion` deletes one."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

from server.avatars.repository import Avatars
from server.avatars.tables import Avatar
from server.caller import Caller
from server.db.unit_of_work import UnitOfWork
from server.projects.repository import Projects
from server.projects.tables import Project


@dataclass(frozen=True)
class ProjectWithAvatars:
    """A project and its avatars, newest first."""

    project: Project
    avatars: list[Avatar]


def create(uow: UnitOfWork, caller: Caller, name: str, description: str | None = None) -> Project:
    """Create a project."""
    project = Project(id=str(uuid4()), user_id=caller.user_id, name=name, description=description)
    with uow.begin() as tx:
        Projects(tx).add(project)
    return project


def list_all(uow: UnitOfWork, caller: Caller) -> list[ProjectWithAvatars]:
    """Return the caller's projects, newest first."""
    with uow.read() as tx:
        projects = Projects(tx).all_of(caller.user_id)
        avatars = Avatars(tx).by_project(project.id for project in projects)
    return [ProjectWithAvatars(project, avatars.get(project.id, [])) for project in projects]


def get(uow: UnitOfWork, caller: Caller, project_id: str) -> ProjectWithAvatars:
    """Return one of the caller's projects.

    Raises:
        NotFound: there is none of this id, or it is another user's.

    """
    with uow.read() as tx:
        project = Projects(tx).owned_by(caller.user_id, project_id)
        avatars = Avatars(tx).by_project([project.id])
    return ProjectWithAvatars(project, avatars.get(project.id, []))


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
        avatars = Avatars(tx).by_project([project.id])
    return ProjectWithAvatars(project, avatars.get(project.id, []))
