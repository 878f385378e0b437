"""The card and the memory of this machine, as a plan sees them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import torch

from inference.local.cards import CONTEXT_BYTES, PCIE_4, PCIE_5, PCIE_5_CAPABILITY, Card, Host

_MEMINFO: Final = Path("/proc/meminfo")  # Source: proc(5)
_CGROUP: Final = Path(
    "/sys/fs/cgroup"
)  # Source: the kernel's cgroup-v2.rst: a container's own is mounted there


def card_of(device: torch.device) -> Card:
    """Return a CUDA device. What other processes have taken of its memory is not there for the plan."""
    properties = torch.cuda.get_device_properties(device)
    free_bytes, total_bytes = torch.cuda.mem_get_info(device)
    capability = (properties.major, properties.minor)
    return Card(
        name=properties.name,
        memory_bytes=min(total_bytes, free_bytes + CONTEXT_BYTES),  # our own context is taken already
        capability=capability,
        copy_bytes_per_s=PCIE_5 if capability >= PCIE_5_CAPABILITY else PCIE_4,
    )


def host_of(workers: int = 1) -> Host:
    """Return this machine with the share of its free memory that each of its workers may have."""
    return Host(min(_free_bytes()) // workers)


def _free_bytes() -> Iterator[int]:
    """Yield what is free of the machine's memory, and of a container's. What caches files counts as free."""
    yield _fields(_MEMINFO)["MemAvailable:"] * 2**10
    try:
        limit = (_CGROUP / "memory.max").read_text("ascii").strip()
        used_bytes = int((_CGROUP / "memory.current").read_text("ascii"))
        fields = _fields(_CGROUP / "memory.stat")
    except OSError:
        return  # not a container, or one of cgroup v1
    if limit != "max":
        cached_bytes = fields["active_file"] + fields["inactive_file"]
        yield max(0, int(limit) - used_bytes + cached_bytes)


def _fields(file: Path) -> dict[str, int]:
    lines = (line.split() for line in file.read_text("ascii").splitlines())
    return {name: int(value) for name, value, *_ in lines}
