"""Reads Server-Sent Events as a client does."""

import json
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

PREFIX = "/api/avatar-creator"


@dataclass(frozen=True)
class Message:
    """One event, or a comment without an event."""

    event: str = ""
    id: int = 0
    data: Any = None
    comment: str = ""


def messages(lines: Iterable[str]) -> Iterator[Message]:
    """Parse the lines of a stream. Source: the HTML standard, section 9.2.6."""
    fields: dict[str, str] = {}
    for line in lines:
        if line:
            name, _, value = line.partition(":")
            fields[name or "comment"] = value.removeprefix(" ")
            continue
        yield Message(
            fields.get("event", ""),
            int(fields.get("id", 0)),
            json.loads(fields["data"]) if "data" in fields else None,
            fields.get("comment", ""),
        )
        fields = {}


def wait_until(look: Callable[[], object], timeout_s: float = 20) -> None:
    """Wait until a look finds something true."""
    until = time.monotonic() + timeout_s
    while not look():
        assert time.monotonic() < until, "it did not happen"
        time.sleep(0.01)


def path_of(generation):
    """Return the path of a generation's stream."""
    return f"generations/{generation.id}/events"


def names(messages):
    """Return what happened, in order."""
    return [message.event for message in messages if message.event]


def turns(messages):
    """Return what happened but the steps: on a busy machine an attempt lasts long enough to record one."""
    return [name for name in names(messages) if name != "step"]
