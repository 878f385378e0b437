"""The settings of turns in the queue."""

from collections.abc import Mapping

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from catalog.tiers import Tier
from server.settings.kinds import Count, Group


class QueueSettings(Group):
    """How much the wait of each tier counts, and how much is drawn for one user at a time."""

    model_config = SettingsConfigDict(env_prefix="QUEUE_")
    title = "Turns in the queue"

    weight_free: Count = Field(
        1,
        description="How much a second of waiting counts for users of the tier free. Of those whose turn it "
        "is, the one is drawn next whose wait times this weight is greatest.",
    )
    weight_basic: Count = Field(2, description="The same for the tier basic.")
    weight_pro: Count = Field(4, description="The same for the tier pro.")
    weight_enterprise: Count = Field(8, description="The same for the tier enterprise.")
    max_drawn_per_user: Count | None = Field(
        None,
        description="Generations of one user that may be drawn at a time, by all workers; the others wait, "
        "also if a worker is idle. Claims at the same moment may exceed it. Empty: no limit.",
    )

    @property
    def weights(self) -> Mapping[Tier, int]:
        """The weight of each tier."""
        return {
            Tier.FREE: self.weight_free,
            Tier.BASIC: self.weight_basic,
            Tier.PRO: self.weight_pro,
            Tier.ENTERPRISE: self.weight_enterprise,
        }
