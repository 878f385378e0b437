"""Published figures to compare with: the hosted API's times and prices, and devices' peak rates."""

import re
from dataclasses import dataclass
from typing import Final

_HOUR_S: Final = 3600


@dataclass(frozen=True)
class Hosted:
    """A hosted API's mean time of one image and quality of an entry, and two prices of an image in dollars.

    old_usd: what the old product paid. list_usd: the list price of today.
    """

    average_s: float
    quality: str
    old_usd: float
    list_usd: float


# Source: the existing product's own timing table and note of prices, by the entry's name. Source of the list
# prices: fal.ai's pages of FLUX.1, 2026-11, by the megapixel, which each entry's own size comes to.
DEV_USD, SCHNELL_USD = 0.025, 0.003
HOSTED: Final = {
    "flux-dev-base": Hosted(35, "Good", 0.05, DEV_USD),
    "flux-dev-realism": Hosted(50, "Excellent", 0.05, DEV_USD),
    "flux-dev-hd-realism": Hosted(75, "Ultra", 0.05, DEV_USD),
    "flux-schnell-fast": Hosted(10, "Good", 0.01, SCHNELL_USD),
}
LORA_ADDS_S: Final = (15, 20)  # Source: the same


def own_usd(seconds_per_image: float, gpu_usd_per_hour: float) -> float:
    """Return the cost of an image on a card that draws one after another and is never idle."""
    return seconds_per_image * gpu_usd_per_hour / _HOUR_S


def break_even_per_hour(hosted_usd: float, gpu_usd_per_hour: float) -> float:
    """Return how many images an hour cost as much at the hosted API as the card does."""
    return gpu_usd_per_hour / hosted_usd


def draws_per_hour(seconds_per_image: float) -> float:
    """Return how many images a card draws in an hour, one after another."""
    return _HOUR_S / seconds_per_image


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
