"""The user tiers and their rank."""

from catalog.ranks import Ranked


class Tier(Ranked):
    """What a user subscribed to."""

    FREE = "free"
    BASIC = "basic"
    PRO = "pro"
    ENTERPRISE = "enterprise"

    def reaches(self, required: "Tier") -> bool:
        """Whether a user of this tier may use what asks for the required tier."""
        return self >= required
