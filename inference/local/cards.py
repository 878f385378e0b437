"""The cards that a plan can be made for without having one, and the host beside them. Needs no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from inference.local.parts import Precision

_GIB: Final = 2**30

CONTEXT_BYTES: Final = 600_000_000
"""What CUDA's context, kernels and the workspaces of cuBLAS take: assumed, no card has measured it yet."""

UNUSABLE_SHARE: Final = 0.02
"""What the allocator loses between blocks and by rounding up to 2 MiB: assumed, as the context."""

HOST_RESERVE_BYTES: Final = 8_000_000_000
"""Of the host's memory, what is never pinned: the system, the server, Python, files that are being read."""

# Source: CUDA's programming guide; tensor cores for fp8 came with Ada and Hopper.
_FP8_CAPABILITY: Final = (8, 9)

# Source: 55.6 GB/s of pinned memory over PCIe 5 x16, NVIDIA's post on nvbandwidth. PCIe 4 has half the rate:
# 25 GB/s is assumed, since hosts with it are slower as well.
PCIE_5: Final = 55e9
PCIE_4: Final = 25e9
PCIE_5_CAPABILITY: Final = (9, 0)
"""Of the first cards with PCIe 5, Hopper."""


@dataclass(frozen=True)
class Card:
    """A device as a plan sees it.

    memory_bytes: all of its memory, as `torch.cuda.mem_get_info` and torch's errors name it.
    capability: CUDA's compute capability, major and minor.
    copy_bytes_per_s: from pinned memory of the host to the device.
    """

    name: str
    memory_bytes: int
    capability: tuple[int, int]
    copy_bytes_per_s: float

    @property
    def usable_bytes(self) -> int:
        """What weights and activations can have."""
        return int(self.memory_bytes * (1 - UNUSABLE_SHARE)) - CONTEXT_BYTES

    @property
    def eight_bit(self) -> Precision:
        """The precision of eight bits that the card multiplies best."""
        return Precision.FP8 if self.capability >= _FP8_CAPABILITY else Precision.INT8


@dataclass(frozen=True)
class Host:
    """The machine of a card. disk_bytes_per_s: of reading large files; 2 GB/s is a moderate NVMe disk."""

    memory_bytes: int
    disk_bytes_per_s: float = 2e9

    @property
    def pinnable_bytes(self) -> int:
        """What may be pinned."""
        return max(0, self.memory_bytes - HOST_RESERVE_BYTES)


def _card(name: str, memory_gib: float, capability: tuple[int, int], copy_bytes_per_s: float) -> Card:
    return Card(name, int(memory_gib * _GIB), capability, copy_bytes_per_s)


# Source of the memory: "GPU 0 has a total capacity of …" in reports of torch's out-of-memory errors, the
# least that was found. None was found for a 4080 under Linux: the same share of 16 GiB as of the 4090's 24.
CARDS: Final[Mapping[str, Card]] = {
    "h100-80g": _card("NVIDIA H100 80 GB", 79.11, (9, 0), PCIE_5),
    "a100-40g": _card("NVIDIA A100 40 GB", 39.50, (8, 0), PCIE_4),
    "l40s-48g": _card("NVIDIA L40S 48 GB", 44.40, (8, 9), PCIE_4),
    "4090-24g": _card("NVIDIA RTX 4090 24 GB", 23.52, (8, 9), PCIE_4),
    "4080-16g": _card("NVIDIA RTX 4080 16 GB", 15.68, (8, 9), PCIE_4),
}
