"""The routes of generations."""

from litestar import Controller, get, post
from litestar.di import NamedDependency
from litestar.params import FromPath, JSONBody

from server.envelope import ApiRequest
from server.generations.schemas import GenerateRequest, GenerationAccepted, GenerationAnswer, GenerationView
from server.generations.submission import submit
from server.services import Services
from server.settings import Settings


class GenerationController(Controller):
    """Ask for an avatar and watch it come about."""

    tags = ("generations",)

    @post("/projects/{project_id:str}/avatars/generate", status_code=200, sync_to_thread=True)
    def generate(
        self,
        project_id: FromPath[str],
        data: JSONBody[GenerateRequest],
        request: ApiRequest,
        services: NamedDependency[Services],
    ) -> GenerationAccepted:
        """Queue one generation and hold its price."""
        submitted = submit(
            services.uow,
            services.bell,
            request.user,
            project_id,
            data,
            max_depth=services.settings.queue_max_depth,
            budget_microusd=_budget(services.settings),
        )
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
        self, generation_id: FromPath[str], request: ApiRequest, services: NamedDependency[Services]
    ) -> GenerationAnswer:
        """Read one generation."""
        with services.uow.read() as tx:
            generation = tx.generations.owned_by(request.user.user_id, generation_id)
        return GenerationAnswer(generation=GenerationView.of(generation))


def _budget(settings: Settings) -> int | None:
    """Return the day's budget that bounds what is accepted: local workers draw on when it is spent."""
    return None if "local" in settings.backends else settings.hosted_budget_microusd
