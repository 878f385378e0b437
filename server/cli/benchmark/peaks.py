"""What devices reach at best, by the name that torch gives them."""

import re
from typing import Final

# Dense bfloat16 with 32-bit sums, TFLOP/s. Source: the vendor's data sheets. Names are matched whole: the
# smaller siblings (PCIe, laptop, a slice of a partitioned card) have names and peaks of their own.
_BF16_TFLOPS: Final = (
    (re.compile(r"NVIDIA H100 80GB HBM3"), 989.0),  # the SXM board
    (re.compile(r"NVIDIA A100[- ](?:SXM4-40GB|SXM4-80GB|PCIE-40GB|80GB PCIe|SXM-80GB)"), 312.0),
    (re.compile(r"NVIDIA L40S"), 362.0),
    (re.compile(r"NVIDIA GeForce RTX 4090"), 165.0),
)


def peak_tflops(device: str) -> float | None:
    """Return a device's peak in bfloat16, None where it is not known: a guess would be worse than a gap."""
    return next((peak for name, peak in _BF16_TFLOPS if name.fullmatch(device)), None)
