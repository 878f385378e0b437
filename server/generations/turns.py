"""Whose generation is drawn next: fair between users, kind to the pipeline that is resident."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

PATIENCE: Final = timedelta(seconds=30)  # about one swap of pipelines: longer than this nobody is passed over


@dataclass(frozen=True)
class Head:
    """The oldest pending generation of one user."""

    generation_id: str
    user_id: str
    model_id: str
    created_at: datetime
    last_claimed_at: datetime | None


def next_of(heads: Sequence[Head], resident: Collection[str], moment: datetime) -> Head | None:
    """Choose from the heads of all users' queues.

    Users take turns: who was served longest ago is next. A head whose pipeline is resident may pass
    one whose pipeline would first have to be loaded, but not one that has lost its patience.
    """
    if not heads:
        return None
    in_turn = sorted(heads, key=_turn)
    first = in_turn[0]
    if moment - first.created_at > PATIENCE:
        return first
    return next((head for head in in_turn if head.model_id in resident), first)


def _turn(head: Head) -> tuple[bool, float, datetime, str]:
    served = head.last_claimed_at
    return served is not None, served.timestamp() if served else 0.0, head.created_at, head.generation_id
