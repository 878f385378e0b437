"""The user tiers and their rank."""

from enum import StrEnum


class Tier(StrEnum):
    """What a user subscribed to. Ordered by rank, never by the alphabet."""

    FREE = "free"
    BASIC = "basic"
    PRO = "pro"
    ENTERPRISE = "enterprise"

    @property
    def rank(self) -> int:
        """The position in rising order, free being 0."""
        return list(Tier).index(self)

    def reaches(self, required: "Tier") -> bool:
        """Whether a user of this tier may use what asks for the required tier."""
        return self.rank >= required.rank
