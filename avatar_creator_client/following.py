"""Following a generation: its stream of events, line by line, and what is done between two streams."""

import json
import time
from dataclasses import dataclass, field
from typing import Any, Final

import httpx

from avatar_creator_client.calls import PREFIX
from avatar_creator_client.errors import GenerationFailed, WaitedTooLong
from avatar_creator_client.records import Generation, Progress

SILENCE_S: Final = 45.0
"""A stream that sends not even a heartbeat for so long is broken: the server sends one every 15 s."""
POLL_S: Final = 10
"""Where there is no stream, one request waits so long for the end. Then another stream is tried."""
ENDS: Final = ("completed", "failed")


@dataclass
class Following:
    """What is known while a generation is followed. timeout_s: None to wait as long as it takes."""

    generation_id: str
    timeout_s: float | None
    last_id: str = ""
    ended: bool = False
    _resumed_at: str = ""
    _deadline: float = field(init=False)
    _kind: str = ""
    _data: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Begin."""
        self._deadline = float("inf") if self.timeout_s is None else time.monotonic() + self.timeout_s

    @property
    def left_s(self) -> float:
        """What is left of the time."""
        return max(0.0, self._deadline - time.monotonic())

    def stream(self) -> dict[str, Any]:
        """Return the request for the events after the last one that came."""
        return {
            "method": "GET",
            "url": f"{PREFIX}/generations/{self.generation_id}/events",
            "headers": {"Last-Event-ID": self.last_id} if self.last_id else {},
            "timeout": httpx.Timeout(10.0, read=max(0.1, min(SILENCE_S, self.left_s))),
        }

    def feed(self, line: str) -> Progress | None:
        """Read a line of the stream; return the progress that it completes, if it does."""
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        match name:
            case "id":
                self.last_id = value
            case "event":
                self._kind = value
            case "data":
                self._data.append(value)
            case "" if not line and self._data:
                kind, data = self._kind, json.loads("\n".join(self._data))
                self._kind, self._data = "", []
                self.ended = kind in ENDS
                return Progress.of_event(kind, data)
        return None

    @property
    def poll_s(self) -> int:
        """The seconds that the next request may wait for the end.

        It is 0 if the stream told something before it broke: then another stream is tried at once.

        Raises:
            WaitedTooLong: the time is over.

        """
        if self.ended:
            return 0
        if not self.left_s:
            raise WaitedTooLong(self.generation_id, self.timeout_s or 0.0)
        if self.last_id != self._resumed_at:
            self._resumed_at = self.last_id
            return 0
        return max(1, int(min(POLL_S, self.left_s)))


def delivered(generation: Generation) -> Generation:
    """Return a generation that has ended with an image.

    Raises:
        GenerationFailed: it has ended without one.

    """
    if generation.status == "failed":
        raise GenerationFailed(
            generation.id,
            generation.error_code or "UNKNOWN",
            generation.error_message or "It could not be drawn",
        )
    return generation
