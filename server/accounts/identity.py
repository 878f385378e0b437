"""Who a user is. The id identifies; the email only helps operators to find the user."""

from dataclasses import dataclass
from typing import Any, Final, Self

from server.accounts.errors import IdentityInvalid

MAX_ID_CHARS: Final = 64  # the width of the column
MAX_EMAIL_CHARS: Final = 320  # Source: RFC 3696, section 3: 64 before the @, 255 after it


@dataclass(frozen=True)
class Identity:
    """A user's id, in any form that the existing platform gives it, and the email in lower case."""

    user_id: str
    email: str | None

    @classmethod
    def of(cls, user_id: Any, email: Any) -> Self:
        """Check an id and an email of any type. A blank email is none.

        Raises:
            IdentityInvalid: one of them is no text, too long, or cannot be printed.

        """
        if not _is_text(user_id, MAX_ID_CHARS):
            raise IdentityInvalid("id", MAX_ID_CHARS)
        if isinstance(email, str):
            email = email.strip().lower() or None
        if email is not None and not _is_text(email, MAX_EMAIL_CHARS):
            raise IdentityInvalid("email", MAX_EMAIL_CHARS)
        return cls(user_id, email)


def _is_text(value: Any, max_chars: int) -> bool:
    # Not printable are NUL, which PostgreSQL does not store, and lone surrogates, which no encoding has.
    return isinstance(value, str) and 1 <= len(value) <= max_chars and value.isprintable()
