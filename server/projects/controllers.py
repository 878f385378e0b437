"""The routes of projects."""

from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from server.avatars.schemas import AvatarView
from server.envelope import ApiRequest
from server.images.links import Links
from server.projects import service
from server.projects.schemas import CreateProject, ProjectAnswer, ProjectCreated, ProjectList, ProjectView
from server.projects.service import ProjectWithAvatars
from server.services import Services


class ProjectController(Controller):
    """Create, list and read projects."""

    path = "/projects"
    tags = ("projects",)

    @post(status_code=200, sync_to_thread=True)
    def create(
        self, data: JSONBody[CreateProject], request: ApiRequest, services: NamedDependency[Services]
    ) -> ProjectCreated:
        """Create a project."""
        project = service.create(services.uow, request.user, data)
        view = ProjectView.model_validate(project)
        return ProjectCreated(message="Project created successfully", project=view)

    @get(sync_to_thread=True)
    def list_all(self, request: ApiRequest, services: NamedDependency[Services]) -> ProjectList:
        """List the caller's projects, newest first."""
        found = service.list_all(services.uow, request.user)
        return ProjectList(projects=[_view(one, services.links) for one in found])

    @get("/{project_id:str}", sync_to_thread=True)
    def get(
        self, project_id: FromPath[str], request: ApiRequest, services: NamedDependency[Services]
    ) -> ProjectAnswer:
        """Read one project."""
        found = service.get(services.uow, request.user, project_id)
        return ProjectAnswer(project=_view(found, services.links))


def _view(found: ProjectWithAvatars, links: Links) -> ProjectView:
    project, avatars = found
    view = ProjectView.model_validate(project)
    return view.model_copy(update={"avatars": [AvatarView.of(avatar, links) for avatar in avatars]})
