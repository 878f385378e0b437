"""Lists in pages: the cursor says after which row the next page begins, so that new rows shift nothing."""

import base64
import binascii
from datetime import datetime
from typing import Annotated, Final

from litestar.params import QueryParameter

from server.http.bodies import View
from server.http.errors import InputInvalid

DEFAULT_LIMIT: Final = 50
MAX_LIMIT: Final = 100

Limit = Annotated[int, QueryParameter(ge=1, le=MAX_LIMIT, description="How many to return at most.")]
Cursor = Annotated[
    str | None, QueryParameter(max_length=200, description="The `nextCursor` of the page before.")
]
Position = tuple[datetime, str]
"""When the last row of a page was created, and its id."""


class PageMeta(View):
    """Where a page ends. next_cursor: None on the last page."""

    limit: int
    has_more: bool
    next_cursor: str | None


def page_meta(limit: int, more: Position | None) -> PageMeta:
    """Return the description of a page. more: the last row's position, if rows follow it."""
    return PageMeta(limit=limit, has_more=more is not None, next_cursor=more and _written(more))


def position(cursor: str | None) -> Position | None:
    """Read a cursor.

    Raises:
        InputInvalid: it was not made by this server.

    """
    if cursor is None:
        return None
    try:
        moment, _, row_id = base64.urlsafe_b64decode(cursor.encode()).decode().partition(" ")
        read = datetime.fromisoformat(moment), row_id
    except (binascii.Error, ValueError) as error:
        raise _unknown() from error
    if read[0].tzinfo is None or not row_id or "\0" in row_id or _written(read) != cursor:
        raise _unknown()
    return read


def _written(last: Position) -> str:
    moment, row_id = last
    return base64.urlsafe_b64encode(f"{moment.isoformat()} {row_id}".encode()).decode()


def _unknown() -> InputInvalid:
    return InputInvalid({"cursor": ["cursor: must be the nextCursor of an earlier page"]})
