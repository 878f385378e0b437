"""Who is asking, as the use cases see it."""

from dataclasses import dataclass

from catalog.tiers import Tier


@dataclass(frozen=True)
class Caller:
    """The user behind a request, whether it came by HTTP or from the command line."""

    user_id: str
    tier: Tier
    is_operator: bool = False
