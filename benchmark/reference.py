"""Published figures to compare with: the hosted API's times and prices, and devices' peak rates."""

import re
from dataclasses import dataclass
from typing import Final

IMAGES: Final = 1000
"""The number of images that a cost is for."""


@dataclass(frozen=True)
class Hosted:
    """The old back end's average time of one image, and the hosted API's price of it."""

    average_s: float
    usd_per_image: float

    @property
    def usd(self) -> float:
        """The price of a thousand images."""
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
    """Return the cost of a thousand images on a card that draws one after another and is never idle."""
    return IMAGES * seconds_per_image * gpu_usd_per_hour / 3600


# Dense bfloat16 with 32-bit sums, TFLOP/s. Source: the vendor's data sheets. Patterns match whole names: the
# smaller variants (PCIe, laptop, a slice of a partitioned card) have other names and lower peaks.
_BF16_TFLOPS: Final = (
    (re.compile(r"NVIDIA H100 80GB HBM3"), 989.0),  # the SXM board
    (re.compile(r"NVIDIA A100[- ](?:SXM4-40GB|SXM4-80GB|PCIE-40GB|80GB PCIe|SXM-80GB)"), 312.0),
    (re.compile(r"NVIDIA L40S"), 362.0),
    (re.compile(r"NVIDIA GeForce RTX 4090"), 165.0),
)


def peak_tflops(device: str) -> float | None:
    """Return a device's peak rate in bfloat16 in TFLOP/s, None where it is unknown: a guess would mislead."""
    return next((peak for name, peak in _BF16_TFLOPS if name.fullmatch(device)), None)
