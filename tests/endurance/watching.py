"""Watches the processes of a program: their memory and descriptors over time."""

import statistics
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

import psutil

from server.supervisor.shutdown import in_thread

PERIOD_S: Final = 2.0
MIB: Final = 2**20
PARTS: Final = {
    "server.uploads.decoder_process": "decoder",
    "server.worker": "worker",
    "cli api": "API",
    "cli up": "up",
}


@dataclass(frozen=True)
class Sample:
    """What a process had at a moment. memory_mib: its own, without what it shares with others."""

    at_s: float
    memory_mib: float
    descriptors: int


@dataclass(frozen=True)
class Change:
    """Medians of a process at the beginning and at the end of the time that counts."""

    part: str
    memory_mib: tuple[float, float]
    descriptors: tuple[float, float]
    curve_mib: tuple[float, ...] = ()
    """The memory in each tenth of the time that counts: a leak is a line, what fills up is a curve."""

    @property
    def growth(self) -> float:
        """The growth of the memory as a share."""
        return self.memory_mib[1] / self.memory_mib[0] - 1

    @property
    def growth_mib(self) -> float:
        """The growth of the memory."""
        return self.memory_mib[1] - self.memory_mib[0]

    def __str__(self) -> str:
        before, after = self.memory_mib
        opened, open_now = self.descriptors
        return (
            f"{self.part}: {before:.1f} to {after:.1f} MiB ({100 * self.growth:+.1f} %), "
            f"{opened:g} to {open_now:g} descriptors; {' '.join(f'{mib:.1f}' for mib in self.curve_mib)}"
        )


@dataclass
class Watch:
    """The samples of each process, by its part of the program and its id."""

    samples: dict[tuple[str, int], list[Sample]] = field(default_factory=lambda: defaultdict(list))

    def take(self, pid: int, at_s: float) -> None:
        """Take a sample of a process and all of its children that are not about to end."""
        root = psutil.Process(pid)
        for process in (root, *root.children(recursive=True)):
            try:
                part = _part(process.cmdline())
                if part is not None:
                    memory = process.memory_full_info().uss / MIB
                    self.samples[part, process.pid].append(Sample(at_s, memory, process.num_fds()))
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue

    def changes(self, warm_s: float) -> list[Change]:
        """Compare the first quarter of the time after warm_s with the last, for each process that lasts."""
        longest = max(map(len, self.samples.values()))
        lasting = [
            (part, samples) for (part, _), samples in self.samples.items() if len(samples) > longest / 2
        ]
        return [
            _change(part, [sample for sample in samples if sample.at_s >= warm_s])
            for part, samples in lasting
        ]


@contextmanager
def watching(pid: int) -> Iterator[Watch]:
    """Watch a process and its children while the body runs."""
    watch, began = Watch(), time.monotonic()

    def look(stopped: threading.Event) -> None:
        while not stopped.wait(PERIOD_S):
            watch.take(pid, time.monotonic() - began)

    with in_thread("watch", look):
        yield watch


def _change(part: str, samples: list[Sample]) -> Change:
    quarter = max(1, len(samples) // 4)
    first, last = samples[:quarter], samples[-quarter:]
    return Change(
        part,
        (_median_mib(first), _median_mib(last)),
        (_median_descriptors(first), _median_descriptors(last)),
        tuple(_median_mib(tenth) for tenth in _tenths(samples)),
    )


def _tenths(samples: list[Sample]) -> list[list[Sample]]:
    size = max(1, -(-len(samples) // 10))
    return [samples[begin : begin + size] for begin in range(0, len(samples), size)]


def _median_mib(samples: list[Sample]) -> float:
    return statistics.median(sample.memory_mib for sample in samples)


def _median_descriptors(samples: list[Sample]) -> float:
    return statistics.median(sample.descriptors for sample in samples)


def _part(command: list[str]) -> str | None:
    words = " ".join(command)
    if "redis" in words or "valkey" in words:
        return "Redis"
    return next((part for word, part in PARTS.items() if word in words), None)
