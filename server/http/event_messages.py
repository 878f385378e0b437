"""What clients are sent of what happened to a generation, in the format of Server-Sent Events."""

import json
from typing import Any

from litestar.response.sse import ServerSentEventMessage

from server.clock import wire
from server.db.unit_of_work import Transaction
from server.events.tables import Kind
from server.generations.history import Happened, Happening
from server.generations.states import Status
from server.images.links import Links
from server.images.store import Variant
from server.scheduling.estimates import Estimates

HEARTBEAT = ServerSentEventMessage(comment="heartbeat", data=None).encode()


class EventMessages:
    """Writes events for clients. Each is written once, however many streams it goes to."""

    def __init__(self, links: Links, estimates: Estimates) -> None:
        self._links = links
        self._estimates = estimates

    def encode(self, tx: Transaction, happened: Happened) -> bytes:
        """Return the event's message. Place and seconds are those of now, not of when it happened."""
        body = {
            "generationId": happened.generation_id,
            "at": wire(happened.at),
            **self._particulars(tx, happened),
        }
        return ServerSentEventMessage(
            json.dumps(body), event=happened.happening.value, id=happened.id
        ).encode()

    def _particulars(self, tx: Transaction, happened: Happened) -> dict[str, Any]:
        match happened.happening:
            case Happening.QUEUED:
                return self._queued(tx, happened)
            case Happening.STARTED:
                return {"attempt": happened.data["attempt"]}
            case Happening.STEP:
                step, steps = happened.data["step"], happened.data["steps"]
                return {
                    "phase": happened.data["phase"],
                    "step": step,
                    "steps": steps,
                    "estimatedSecondsLeft": self._estimates.left(
                        tx, happened.entry_key, step, steps, happened.at
                    ),
                }
            case Happening.COMPLETED:
                return {
                    "avatarId": happened.avatar_id,
                    **image_paths(self._links, happened.image_key),
                    "credits": happened.data["credits"],
                }
            case Happening.FAILED:
                return {
                    "reason": happened.error_code,
                    "message": happened.error_message,
                    "creditsGivenBack": happened.credits,
                }

    def _queued(self, tx: Transaction, happened: Happened) -> dict[str, Any]:
        again = {"again": happened.kind != Kind.QUEUED}
        if happened.status != Status.PENDING:
            return again | {"position": None, "estimatedSecondsLeft": None}
        wait = self._estimates.wait(tx, happened.entry_key, happened.turn, happened.created_at)
        return again | {"position": wait.position, "estimatedSecondsLeft": wait.seconds_left}


def image_paths(links: Links, image_key: str | None) -> dict[str, str | None]:
    """Return the paths of an image's two files under their names on the wire; None without an image."""
    if image_key is None:
        return {"imageUrl": None, "thumbnailUrl": None}
    return {
        "imageUrl": links.path(image_key, Variant.FULL),
        "thumbnailUrl": links.path(image_key, Variant.THUMBNAIL),
    }
