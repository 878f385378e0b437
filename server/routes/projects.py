"""The routes of projects."""

from typing import Annotated, Final, Self

from litestar import Controller, delete, get, post, put
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody, QueryParameter
from pydantic import Field

from server.generations.deletion import delete_project
from server.http.bodies import Message, Name, Request, View, WireTime, examples
from server.http.paging import Cursor, PageMeta, page_meta, position
from server.http.request import ApiRequest
from server.http.services import Services
from server.images.links import Links
from server.projects import service
from server.projects.service import ProjectWithAvatars
from server.routes.avatars import AvatarView

MOST_PROJECTS: Final = 500
"""Projects of a page. Clients of before have no pages: the default is the most."""

Limit = Annotated[int, QueryParameter(ge=1, le=MOST_PROJECTS, description="How many to return at most.")]


class CreateProject(Request):
    """The body of POST /projects."""

    model_config = examples({"name": "Team", "description": "Portraits for the website"})

    name: Name
    description: Annotated[str | None, Field(max_length=500)] = None


class UpdateProject(Request):
    """The body of PUT /projects/{id}. What is absent stays; a description of null is removed."""

    model_config = examples({"name": "The team of 2027"}, {"description": None})

    name: Name = Field(default_factory=str)  # never used: `changes` has only what was named
    description: Annotated[str | None, Field(max_length=500)] = None


class ProjectView(View):
    """A project with its avatars, newest first. has_more_avatars: whether older ones were left out."""

    id: str
    user_id: str
    name: str
    description: str | None
    created_at: WireTime
    updated_at: WireTime
    avatars: list[AvatarView] = Field(default_factory=list)
    has_more_avatars: bool = False

    @classmethod
    def of(cls, found: ProjectWithAvatars, links: Links) -> Self:
        """Return a project with its avatars and the paths of their images."""
        avatars = [AvatarView.of(avatar, links) for avatar in found.avatars]
        update = {"avatars": avatars, "has_more_avatars": found.more_avatars}
        return cls.model_validate(found.project).model_copy(update=update)


class ProjectAnswer(View):
    """One project."""

    project: ProjectView


class ProjectChanged(ProjectAnswer):
    """One project that was created or changed."""

    message: str


class ProjectList(View):
    """Some of a user's projects, newest first. Those of a page share 2000 avatars evenly."""

    projects: list[ProjectView]
    meta: PageMeta


class ProjectController(Controller):
    """Create, list, read, change and delete projects."""

    path = "/projects"
    tags = ("projects",)

    @post(status_code=200, sync_to_thread=True, rate_limit="projects")
    def create(
        self, data: JSONBody[CreateProject], request: ApiRequest, services: NamedDependency[Services]
    ) -> ProjectChanged:
        """Create a project."""
        project = service.create(services.uow, request.user, data.name, data.description)
        view = ProjectView.model_validate(project)
        return ProjectChanged(message="Project created successfully", project=view)

    @get(sync_to_thread=True)
    def list_page(
        self,
        request: ApiRequest,
        services: NamedDependency[Services],
        limit: Limit = MOST_PROJECTS,
        cursor: Cursor = None,
    ) -> ProjectList:
        """List the caller's projects, newest first, a page at a time. Without parameters, the newest 500."""
        page = service.list_page(services.uow, request.user, limit, after=position(cursor))
        last = page.projects[-1].project if page.more else None
        return ProjectList(
            projects=[ProjectView.of(one, services.links) for one in page.projects],
            meta=page_meta(limit, (last.created_at, last.id) if last else None),
        )

    @get("/{project_id:str}", sync_to_thread=True)
    def get(
        self, project_id: FromPath[str], request: ApiRequest, services: NamedDependency[Services]
    ) -> ProjectAnswer:
        """Read one project."""
        found = service.get(services.uow, request.user, project_id)
        return ProjectAnswer(project=ProjectView.of(found, services.links))

    @put("/{project_id:str}", sync_to_thread=True)
    def update(
        self,
        project_id: FromPath[str],
        data: JSONBody[UpdateProject],
        request: ApiRequest,
        services: NamedDependency[Services],
    ) -> ProjectChanged:
        """Change the name or the description of a project."""
        found = service.update(services.uow, request.user, project_id, data.changes())
        project = ProjectView.of(found, services.links)
        return ProjectChanged(message="Project updated successfully", project=project)

    @delete("/{project_id:str}", status_code=200, sync_to_thread=True)
    def delete(
        self, project_id: FromPath[str], request: ApiRequest, services: NamedDependency[Services]
    ) -> Message:
        """Delete a project with its avatars and generations. What has not ended is given back."""
        delete_project(services.uow, services.images.discard, request.user, project_id)
        return Message(message="Project deleted successfully")
