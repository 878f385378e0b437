"""Deleting a project, or all of a user's, with all that is in it."""

from contextlib import suppress
from typing import Final

from server.avatars.repository import Avatars
from server.avatars.service import Discard
from server.caller import Caller
from server.db.unit_of_work import UnitOfWork
from server.errors import NotFound
from server.generations import settlement
from server.generations.repository import Generations
from server.projects.repository import Projects

PROJECTS_AT_ONCE: Final = 500  # read into memory


def delete_project(uow: UnitOfWork, discard: Discard, caller: Caller, project_id: str) -> None:
    """Delete one of the caller's projects with its avatars and generations; what has not ended is given back.

    Ledger and events stay. The rows go first: files that a crash leaves are owned by no avatar, and the
    reaper sweeps them, as it does the file of a worker that comes late.

    Raises:
        NotFound: there is none of this id, or it is another user's.

    """
    with uow.begin() as tx:
        Projects(tx).lock(caller.user_id, project_id)
        generations = Generations(tx)
        cancelled = settlement.cancel_within(tx, generations.unfinished_in(project_id))
        image_keys = Avatars(tx).delete_all_of(project_id)
        generations.delete_all_of(project_id)
        Projects(tx).delete(project_id)
    settlement.log_failed(cancelled)
    discard(image_keys)


def delete_projects(uow: UnitOfWork, discard: Discard, caller: Caller) -> int:
    """Delete each of a user's projects, one transaction each; return how many there were."""
    deleted, after = 0, None
    while True:
        with uow.read() as tx:
            projects = Projects(tx).newest_of(caller.user_id, PROJECTS_AT_ONCE, after=after)
        for project in projects:
            with suppress(NotFound):  # deleted meanwhile
                delete_project(uow, discard, caller, project.id)
        deleted += len(projects)
        if len(projects) < PROJECTS_AT_ONCE:
            return deleted
        after = projects[-1].created_at, projects[-1].id
