"""The routes of generations."""

from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from server.auth.users import Caller
from server.db.unit_of_work import UnitOfWork
from server.generations.schemas import GenerateRequest, GenerationAccepted, GenerationAnswer, GenerationView
from server.generations.submission import submit
from server.queues.bell import Bell
from server.settings import Settings


class GenerationController(Controller):
    """Ask for an avatar and watch it come about."""

    tags = ("generations",)

    @post("/projects/{project_id:str}/avatars/generate", status_code=200, sync_to_thread=True)
    def generate(
        self,
        project_id: FromPath[str],
        data: JSONBody[GenerateRequest],
        caller: NamedDependency[Caller],
        uow: NamedDependency[UnitOfWork],
        bell: NamedDependency[Bell],
        settings: NamedDependency[Settings],
    ) -> GenerationAccepted:
        """Queue one generation and hold its price."""
        submitted = submit(uow, bell, caller, project_id, data, max_depth=settings.queue_max_depth)
        return GenerationAccepted(
            message="Avatar generation started",
            generation=GenerationView.of(submitted.generation),
            credit_used=submitted.credits,
            credit_balance=submitted.balance,
            note="Poll GET /generations/{id} until its status is completed or failed. "
            "A failed generation is given back.",
        )

    @get("/generations/{generation_id:str}", sync_to_thread=True)
    def get(
        self, generation_id: FromPath[str], caller: NamedDependency[Caller], uow: NamedDependency[UnitOfWork]
    ) -> GenerationAnswer:
        """Read one generation."""
        with uow.read() as tx:
            generation = tx.generations.owned_by(caller.user_id, generation_id)
        return GenerationAnswer(generation=GenerationView.of(generation))
