"""The settings of batches and of the overlap of drawing and storing."""

from typing import Annotated, Literal

from pydantic import Field

from server.settings.kinds import Count, Group


class BatchSettings(Group):
    """What a worker does at the same time."""

    title = "Batches and overlap"

    batch_max: Count = Field(
        4,
        description="Generations that are drawn together, if so many of one entry, size and number of steps "
        "wait. 1: each alone.",
    )
    overlap: Literal["on", "off"] = Field(
        "on", description="on stores and settles an image while the next one is drawn."
    )
    png_level: Annotated[int, Field(ge=0, le=9)] = Field(
        6, description="How hard images are compressed: 0 not at all, 1 in least time, 9 to fewest bytes."
    )
