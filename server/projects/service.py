"""The use cases of projects."""

from uuid import uuid4

from server.auth.users import Caller
from server.db.tables import Avatar, Project
from server.db.unit_of_work import UnitOfWork
from server.projects.schemas import CreateProject

ProjectWithAvatars = tuple[Project, list[Avatar]]


def create(uow: UnitOfWork, caller: Caller, request: CreateProject) -> Project:
    """Create a project."""
    project = Project(
        id=str(uuid4()), user_id=caller.user_id, name=request.name, description=request.description
    )
    with uow.begin() as tx:
        tx.projects.add(project)
    return project


def list_all(uow: UnitOfWork, caller: Caller) -> list[ProjectWithAvatars]:
    """Return the caller's projects, newest first, each with its avatars, newest first."""
    with uow.read() as tx:
        projects = tx.projects.all_of(caller.user_id)
        avatars = tx.avatars.by_project(project.id for project in projects)
    return [(project, avatars.get(project.id, [])) for project in projects]


def get(uow: UnitOfWork, caller: Caller, project_id: str) -> ProjectWithAvatars:
    """Return one of the caller's projects with its avatars.

    Raises:
        NotFound: there is none of this id, or it is another user's.

    """
    with uow.read() as tx:
        project = tx.projects.owned_by(caller.user_id, project_id)
        avatars = tx.avatars.by_project([project.id])
    return project, avatars.get(project.id, [])
