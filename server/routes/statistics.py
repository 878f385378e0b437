"""The route of a user's statistics."""

from typing import Self

from litestar import get
from litestar.di import NamedDependency

from server.http.bodies import View
from server.http.request import ApiRequest
from server.http.services import Services
from server.projects.statistics import Statistics, statistics


class UsedAvatar(View):
    """An avatar and how often it was used."""

    id: str
    name: str
    usage_count: int


class StatisticsView(View):
    """A user's counts. recent_uploads: in the last seven days. top_used_avatars: the five most used."""

    total_avatars: int
    total_projects: int
    recent_uploads: int
    total_usage: int
    average_usage: float
    top_used_avatars: list[UsedAvatar]


class CostsView(View):
    """What the user pays in credits. generate_avatar: the lowest price; None if no entry is within reach."""

    generate_avatar: int | None
    upload_avatar: int
    from_preset: int
    from_reference: int
    edit_persona: int


class StatisticsAnswer(View):
    """A user's counts, credits and prices."""

    stats: StatisticsView
    credit_balance: int
    has_enterprise_unlimited: bool
    costs: CostsView

    @classmethod
    def of(cls, found: Statistics) -> Self:
        """Return statistics in the words of the contract."""
        return cls(
            stats=StatisticsView(
                total_avatars=found.avatars,
                total_projects=found.projects,
                recent_uploads=found.recent_uploads,
                total_usage=found.uses,
                average_usage=found.mean_uses,
                top_used_avatars=[UsedAvatar.model_validate(avatar) for avatar in found.most_used],
            ),
            credit_balance=found.balance,
            has_enterprise_unlimited=found.unlimited,
            costs=CostsView.model_validate(found.costs),
        )


@get("/stats", tags=["stats"], sync_to_thread=True)
def read_statistics(request: ApiRequest, services: NamedDependency[Services]) -> StatisticsAnswer:
    """Return what the caller has, how much of it is used, and what more would cost."""
    return StatisticsAnswer.of(statistics(services.uow, request.user))
