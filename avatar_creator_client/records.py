"""What the server answers with, as records."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self

ENDED: Final = ("completed", "failed")


@dataclass(frozen=True)
class Project:
    """A folder of avatars."""

    id: str
    name: str
    description: str | None

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Self:
        """Read a project."""
        return cls(body["id"], body["name"], body.get("description"))


@dataclass(frozen=True)
class Quote:
    """What a wish would be given, and its price, which the id binds until it expires.

    expected_s: of the drawing, None if nothing is known of it. waiting_s: before it; None if nobody draws.
    """

    id: str
    model: str
    width_px: int
    height_px: int
    credits: int
    balance: int
    waiting_s: float | None
    expires_at: datetime

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Self:
        """Read a dry run's answer."""
        return cls(
            id=body["quoteId"],
            model=body["modelKey"],
            width_px=body["width"],
            height_px=body["height"],
            credits=body["creditCost"],
            balance=body["creditBalance"],
            waiting_s=body["estimatedWaitSeconds"],
            expires_at=moment(body["quoteExpiresAt"]),
        )


@dataclass(frozen=True)
class Progress:
    """How far a generation is.

    phase: `queued`, `starting`, or what the worker does. position: in the queue, 1 for the next.
    left_s: estimated until its end.
    """

    phase: str
    step: int = 0
    steps: int = 0
    position: int | None = None
    left_s: float | None = None

    @classmethod
    def of_body(cls, body: Mapping[str, Any]) -> Self:
        """Read the progress of a generation."""
        return cls(
            phase=body["phase"],
            step=body["step"],
            steps=body["steps"],
            position=body["queuePosition"],
            left_s=body["estimatedSecondsLeft"],
        )

    @classmethod
    def of_event(cls, kind: str, data: Mapping[str, Any]) -> Self | None:
        """Read an event; None if it says nothing of the progress."""
        left_s = data.get("estimatedSecondsLeft")
        if kind == "queued":
            return cls("queued", position=data.get("position"), left_s=left_s)
        if kind == "started":
            return cls("starting")
        if kind == "step":
            return cls(data["phase"], data["step"], data["steps"], left_s=left_s)
        return None


@dataclass(frozen=True)
class Generation:
    """One request for one avatar.

    status: `pending`, `processing`, `completed` or `failed`. image_path: of its PNG on the server.
    """

    id: str
    project_id: str
    avatar_id: str | None
    status: str
    prompt: str
    model: str
    seed: int
    width_px: int
    height_px: int
    error_code: str | None
    error_message: str | None
    image_path: str | None
    created_at: datetime
    progress: Progress | None = None

    @property
    def has_ended(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in ENDED

    @classmethod
    def of(cls, body: Mapping[str, Any]) -> Self:
        """Read a generation."""
        options = json.loads(body["options"])
        progress = body.get("progress")
        return cls(
            id=body["id"],
            project_id=body["projectId"],
            avatar_id=body["avatarId"],
            status=body["status"],
            prompt=body["prompt"],
            model=options["modelKey"],
            seed=options["seed"],
            width_px=options["width"],
            height_px=options["height"],
            error_code=body["errorCode"],
            error_message=body["errorMessage"],
            image_path=body.get("imageUrl"),
            created_at=moment(body["createdAt"]),
            progress=Progress.of_body(progress) if progress else None,
        )


def moment(text: str) -> datetime:
    """Read a time as the server writes it."""
    return datetime.fromisoformat(text)
