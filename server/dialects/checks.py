"""What clients of other APIs may name although an entry fixes it: as the entry has it, or not at all."""

import math
from collections.abc import Mapping
from typing import Final

from catalog.entries import MIN_SIZE_PX, SIZE_STEP_PX, Entry
from server.http.errors import InputInvalid

FIXED: Final = "{name}: {entry} is drawn with {value:g}; leave it out"

NO_NEGATIVE_PROMPT: Final = "FLUX.1 takes none; leave it out"
NO_IMAGE: Final = "images are drawn from text alone; leave it out"


def check_fixed(
    entry: Entry, *, steps: Mapping[str, int | None], guidance: Mapping[str, float | None]
) -> None:
    """Check that no other steps and guidance are asked for than the entry's: they would not be drawn.

    steps, guidance: what the client named, by the names of its fields.

    Raises:
        InputInvalid: it names each field at fault, and what it would have to be.

    """
    wanted: list[tuple[str, float | None, float]] = [
        (name, value, float(entry.steps)) for name, value in steps.items()
    ]
    wanted += [(name, value, entry.guidance_scale) for name, value in guidance.items()]
    problems = {
        name: [FIXED.format(name=name, entry=entry.short_key, value=fixed)]
        for name, value, fixed in wanted
        if value is not None and value != fixed
    }
    if problems:
        raise InputInvalid(problems)


def refuse(**reasons: str | None) -> None:
    """Refuse what is not drawn here. reasons: why, by field; None where nothing is wrong.

    Raises:
        InputInvalid: it names each field at fault.

    """
    problems = {name: [f"{name}: {reason}"] for name, reason in reasons.items() if reason is not None}
    if problems:
        raise InputInvalid(problems)


def size_of_ratio(entry: Entry, width: int, height: int) -> tuple[int, int]:
    """Return width and height in pixels of about the area of an entry's own size, in some ratio.

    No side is smaller than the smallest that is drawn, so a long ratio has a larger area.
    """
    area_px = entry.width_px * entry.height_px
    scale = max(math.sqrt(area_px / (width * height)), MIN_SIZE_PX / min(width, height))
    return _stepped(width * scale), _stepped(height * scale)


def _stepped(side_px: float) -> int:
    return round(side_px / SIZE_STEP_PX) * SIZE_STEP_PX
