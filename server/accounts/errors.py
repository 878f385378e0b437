"""What can go wrong with users and their keys."""

from dataclasses import dataclass

from server.errors import DomainError


@dataclass
class UserExists(DomainError):
    """A user of this id exists already."""

    user_id: str

    def __str__(self) -> str:
        return f"A user with the id {self.user_id} exists already"


@dataclass
class UserUnknown(DomainError):
    """No user has this id or email."""

    who: str

    def __str__(self) -> str:
        return f"No user has the id or email {self.who}"


class TokenInvalid(DomainError):
    """The bearer token is unknown or revoked."""

    def __str__(self) -> str:
        return "The token is not valid"
