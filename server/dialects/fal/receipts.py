"""Which answers to submissions their clients have read. fal's clients repeat one up to ten times, unsaid.

An answer was read when its client asks for the request that it names, or sends another one on the same
connection. If the connection is lost before either, the answer was not read, as far as anybody can know.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from server.http.connections import Link
from server.idempotency.repetitions import UNREAD, RepeatableRequests
from server.idempotency.tables import RepeatableRequest

FORGOTTEN_S: Final = UNREAD.total_seconds()


@dataclass
class _Sent:
    link: Link
    at: float
    request_id: str | None = None


class Receipts:
    """The answers of this process that nobody is known to have read. Changed on the event loop alone.

    What an earlier process answered, and nobody is known to have read, was lost with it.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._sent: dict[str, _Sent] = {}

    def begin(self, record_id: str, link: Link) -> None:
        """Note a submission before it is accepted."""
        moment = self._clock()
        for old in [one for one, sent in self._sent.items() if sent.at < moment - FORGOTTEN_S]:
            del self._sent[old]
        self._sent[record_id] = _Sent(link, moment)

    def accepted(self, record_id: str, request_id: str) -> None:
        """Note which request the answer names."""
        if record_id in self._sent:
            self._sent[record_id].request_id = request_id

    def forget(self, record_id: str) -> None:
        """Forget a submission: it was refused, or its answer was read."""
        self._sent.pop(record_id, None)

    def read_by(self, link: Link, request_id: str | None = None) -> list[str]:
        """Return the records whose answers a request on a connection shows to have been read, once each."""
        found = [
            record_id
            for record_id, sent in self._sent.items()
            if sent.request_id is not None and (sent.link is link or sent.request_id == request_id)
        ]
        for record_id in found:
            del self._sent[record_id]
        return found

    def lost(self, kept: RepeatableRequests, user_id: str, digest: str) -> RepeatableRequest | None:
        """Return the newest equal request whose answer was lost; None if there is none."""
        for record in kept.unread(user_id, digest):
            sent = self._sent.get(record.id)
            if sent is None or sent.link.is_lost:
                return record
        return None
