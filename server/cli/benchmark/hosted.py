"""What the hosted API took and cost for each entry, to stand beside what is measured here."""

from dataclasses import dataclass
from typing import Final

IMAGES: Final = 1000
"""How many images a cost is told for."""


@dataclass(frozen=True)
class Hosted:
    """The old back end's average of one image, and the hosted API's price of it."""

    average_s: float
    usd_per_image: float

    @property
    def usd(self) -> float:
        """What a thousand images cost."""
        return IMAGES * self.usd_per_image


# Source: the existing product's own timing table and note of prices, by the entry's name.
HOSTED: Final = {
    "flux-dev-base": Hosted(35, 0.05),
    "flux-dev-realism": Hosted(50, 0.05),
    "flux-dev-hd-realism": Hosted(75, 0.05),
    "flux-schnell-fast": Hosted(10, 0.01),
}
LORA_ADDS_S: Final = (15, 20)  # Source: the same


def own_usd(seconds_per_image: float, gpu_usd_per_hour: float) -> float:
    """Return what a thousand images cost on a card that draws one after another and is never idle."""
    return IMAGES * seconds_per_image * gpu_usd_per_hour / 3600
