"""The routes of projects."""

from typing import Annotated, Self

from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody
from pydantic import Field

from server.http.bodies import Name, Request, View, WireTime
from server.http.request import ApiRequest
from server.http.services import Services
from server.images.links import Links
from server.projects import service
from server.projects.service import ProjectWithAvatars
from server.routes.avatars import AvatarView


class CreateProject(Request):
    """The body of POST /projects."""

    name: Name
    description: Annotated[str | None, Field(max_length=500)] = None


class ProjectView(View):
    """A project with its avatars, newest first."""

    id: str
    user_id: str
    name: str
    description: str | None
    created_at: WireTime
    updated_at: WireTime
    avatars: list[AvatarView] = Field(default_factory=list)

    @classmethod
    def of(cls, found: ProjectWithAvatars, links: Links) -> Self:
        """Return a project with its avatars and the paths of their images."""
        avatars = [AvatarView.of(avatar, links) for avatar in found.avatars]
        return cls.model_validate(found.project).model_copy(update={"avatars": avatars})


class ProjectAnswer(View):
    """One project."""

    project: ProjectView


class ProjectCreated(ProjectAnswer):
    """One new project."""

    message: str


class ProjectList(View):
    """All of a user's projects."""

    projects: list[ProjectView]


class ProjectController(Controller):
    """Create, list and read projects."""

    path = "/projects"
    tags = ("projects",)

    @post(status_code=200, sync_to_thread=True, rate_limit="projects")
    def create(
        self, data: JSONBody[CreateProject], request: ApiRequest, services: NamedDependency[Services]
    ) -> ProjectCreated:
        """Create a project."""
        project = service.create(services.uow, request.user, data.name, data.description)
        view = ProjectView.model_validate(project)
        return ProjectCreated(message="Project created successfully", project=view)

    @get(sync_to_thread=True)
    def list_all(self, request: ApiRequest, services: NamedDependency[Services]) -> ProjectList:
        """List the caller's projects, newest first."""
        found = service.list_all(services.uow, request.user)
        return ProjectList(projects=[ProjectView.of(one, services.links) for one in found])

    @get("/{project_id:str}", sync_to_thread=True)
    def get(
        self, project_id: FromPath[str], request: ApiRequest, services: NamedDependency[Services]
    ) -> ProjectAnswer:
        """Read one project."""
        found = service.get(services.uow, request.user, project_id)
        return ProjectAnswer(project=ProjectView.of(found, services.links))
