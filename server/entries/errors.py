"""What can go wrong with the catalogue's entries."""

from dataclasses import dataclass

from server.errors import DomainError


@dataclass
class EntryUnknown(DomainError):
    """No entry of the catalogue has this key. keys: those that there are."""

    key: str
    keys: tuple[str, ...]

    def __str__(self) -> str:
        known = ", ".join(self.keys) or "none: run 'avatar-creator seed'"
        return f"The catalogue has no entry {self.key}. It has {known}"
