"""Projects on the wire."""

from typing import Annotated

from pydantic import Field

from server.avatars.schemas import AvatarView
from server.schemas import Name, Request, View, WireTime


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


class ProjectAnswer(View):
    """One project."""

    project: ProjectView


class ProjectCreated(ProjectAnswer):
    """One new project."""

    message: str


class ProjectList(View):
    """All of a user's projects."""

    projects: list[ProjectView]
