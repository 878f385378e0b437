"""What the answers to errors have in common, whatever the shape of a dialect's."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from litestar import Request, Response

from catalog.selection import UnknownEntry
from server.http.envelope import known_as, log_error
from server.http.errors import Described, describe

NOT_FOUND: Final = 404


@dataclass(frozen=True)
class Refusal:
    """An error that is to be answered. status: 404 where a client names a model that is not on offer."""

    error: Exception
    described: Described

    @classmethod
    def of(cls, request: Request[Any, Any, Any], error: Exception) -> Self:
        """Return any exception as it is known here, and log what an operator has to know of it."""
        known = known_as(request, error)
        described = describe(known)
        log_error(request, known, described)
        return cls(known, described)

    @property
    def status(self) -> int:
        """The status, unless the dialect has another one for it."""
        return NOT_FOUND if isinstance(self.error, UnknownEntry) else self.described.status

    def answer(
        self,
        body: bytes | Mapping[str, Any],
        status: int,
        headers: Mapping[str, str] | None = None,
        media_type: str = "application/json",
    ) -> Response[bytes]:
        """Return the answer, which says when the request may come again if that is known."""
        retry_after_s = self.described.retry_after_s
        told = {} if retry_after_s is None else {"Retry-After": str(retry_after_s)}
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return Response(
            content, status_code=status, headers={**told, **(headers or {})}, media_type=media_type
        )
