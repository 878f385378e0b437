"""What can go wrong with users, their tokens and their keys."""

from dataclasses import dataclass

from server.errors import DomainError


@dataclass
class UserExists(DomainError):
    """A user of this id exists already, or was deleted: an id is given once."""

    user_id: str

    def __str__(self) -> str:
        return f"A user with the id {self.user_id} exists already"


@dataclass
class EmailTaken(DomainError):
    """Another user has this email."""

    email: str

    def __str__(self) -> str:
        return f"Another user has the email {self.email}"


@dataclass
class UserUnknown(DomainError):
    """No user has this id or email."""

    who: str

    def __str__(self) -> str:
        return f"No user has the id or email {self.who}"


@dataclass
class UserAmbiguous(DomainError):
    """One user has this as the id, and another as the email."""

    who: str
    user_ids: tuple[str, ...]

    def __str__(self) -> str:
        ids = " or ".join(f"id:{user_id}" for user_id in self.user_ids)
        return f"{self.who} is one user's id and another's email: name {ids}. Nothing was done"


@dataclass
class KeyUnknown(DomainError):
    """The user has no key with this prefix that was not revoked."""

    user_id: str
    prefix: str

    def __str__(self) -> str:
        return (
            f"User {self.user_id} has no key {self.prefix} that was not revoked: "
            "'avatar-creator keys list' shows the prefixes"
        )


@dataclass
class IdentityInvalid(DomainError):
    """A user's id or email breaks its rule."""

    part: str
    max_chars: int

    def __str__(self) -> str:
        return f"A user's {self.part} must have 1 to {self.max_chars} printable characters"


class TokenInvalid(DomainError):
    """The bearer token is unknown, revoked, forged, or of a deleted user."""

    def __str__(self) -> str:
        return "The token is not valid"


class TokenExpired(DomainError):
    """The bearer token was valid until its expiry."""

    def __str__(self) -> str:
        return "The token has expired"


class CodeInvalid(DomainError):
    """The sign-in code is unknown, was used, or has expired."""

    def __str__(self) -> str:
        return "This sign-in link was used already, or is too old. Ask for a new one"


@dataclass
class TooManyKeys(DomainError):
    """The user has as many valid API keys as a user may have."""

    limit: int

    def __str__(self) -> str:
        return f"A user may have at most {self.limit} valid API keys. Revoke one first"
