"""Ranked names, and the user tiers."""

from enum import StrEnum


class Ranked(StrEnum):
    """An enumeration of names in rising order, compared by rank and not alphabetically."""

    @property
    def rank(self) -> int:
        """The position in rising order, from 0."""
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
    """The subscription of a user."""

    FREE = "free"
    BASIC = "basic"
    PRO = "pro"
    ENTERPRISE = "enterprise"

    def reaches(self, required: "Tier") -> bool:
        """Whether a user of this tier may use an entry that requires the given tier."""
        return self >= required
