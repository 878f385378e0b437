"""The routes of projects."""

from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from server.auth.users import Caller
from server.avatars.schemas import AvatarView
from server.db.unit_of_work import UnitOfWork
from server.images.links import Links
from server.projects import service
from server.projects.schemas import CreateProject, ProjectAnswer, ProjectCreated, ProjectList, ProjectView
from server.projects.service import ProjectWithAvatars


class ProjectController(Controller):
    """Create, list and read projects."""

    path = "/projects"
    tags = ("projects",)

    @post(status_code=200, sync_to_thread=True)
    def create(
        self, data: JSONBody[CreateProject], caller: NamedDependency[Caller], uow: NamedDependency[UnitOfWork]
    ) -> ProjectCreated:
        """Create a project."""
        project = service.create(uow, caller, data)
        view = ProjectView.model_validate(project)
        return ProjectCreated(message="Project created successfully", project=view)

    @get(sync_to_thread=True)
    def list_all(
        self, caller: NamedDependency[Caller], uow: NamedDependency[UnitOfWork], links: NamedDependency[Links]
    ) -> ProjectList:
        """List the caller's projects, newest first."""
        return ProjectList(projects=[_view(found, links) for found in service.list_all(uow, caller)])

    @get("/{project_id:str}", sync_to_thread=True)
    def get(
        self,
        project_id: FromPath[str],
        caller: NamedDependency[Caller],
        uow: NamedDependency[UnitOfWork],
        links: NamedDependency[Links],
    ) -> ProjectAnswer:
        """Read one project."""
        return ProjectAnswer(project=_view(service.get(uow, caller, project_id), links))


def _view(found: ProjectWithAvatars, links: Links) -> ProjectView:
    project, avatars = found
    view = ProjectView.model_validate(project)
    return view.model_copy(update={"avatars": [AvatarView.of(avatar, links) for avatar in avatars]})
