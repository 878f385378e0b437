"""Names in rising order, and the user tiers."""

from enum import StrEnum


class Ranked(StrEnum):
    """A name among names in rising order. Compared by rank, never by the alphabet."""

    @property
    def rank(self) -> int:
        """The position in rising order, the lowest being 0."""
        return list(type(self)).index(self)

    def __lt__(self, other: str) -> bool:
        return self.rank < type(self)(other).rank

    def __le__(self, other: str) -> bool:
        return self.rank <= type(self)(other).rank

    def __gt__(self, other: str) -> bool:
        return self.rank > type(self)(other).rank

    def __ge__(self, other: str) -> bool:
        return self.rank >= type(self)(other).rank


class Tier(Ranked):
    """What a user subscribed to."""

    FREE = "free"
    BASIC = "basic"
    PRO = "pro"
    ENTERPRISE = "enterprise"

    def reaches(self, required: "Tier") -> bool:
        """Whether a user of this tier may use what asks for the required tier."""
        return self >= required
