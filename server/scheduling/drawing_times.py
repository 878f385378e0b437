"""How long a generation will wait and be drawn, by what was measured here."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Final

from catalog.entries import Entry
from server.db.unit_of_work import Transaction
from server.generations.queue import PendingQueue
from server.generations.repository import Generations
from server.scheduling.claim_policy import HOSTED, LOCAL
from server.scheduling.registry import WorkerRegistry

SIZE_CLASSES_PX: Final = (512, 768, 1024, 1536)  # an image belongs to the first that its longer side fits
RECENT: Final = 200
"""From how many of the newest images of an entry its times are taken."""
FEWEST: Final = 5
"""With fewer images of a size class, the catalogue's range is the better estimate."""


@dataclass(frozen=True)
class DrawingTime:
    """Half of the images take at most p50_s, nine of ten at most p90_s.

    measured: on this server; otherwise it is the range of the catalogue.
    """

    p50_s: float
    p90_s: float
    measured: bool


def size_class_px(width_px: int, height_px: int) -> int:
    """Return the size class of an image."""
    longer_px = max(width_px, height_px)
    return next((size for size in SIZE_CLASSES_PX if longer_px <= size), SIZE_CLASSES_PX[-1])


def drawing_time(tx: Transaction, entry: Entry, width_px: int, height_px: int) -> DrawingTime | None:
    """Estimate how long an entry draws an image of a size; None if nothing is known."""
    wanted = size_class_px(width_px, height_px)
    durations_s = [
        duration_s
        for order, duration_s in Generations(tx).newest_durations(entry.key, RECENT)
        if size_class_px(order.width_px, order.height_px) == wanted
    ]
    if len(durations_s) >= FEWEST:
        return _measured(durations_s)
    if entry.processing_range_s is None:
        return None
    low_s, high_s = entry.processing_range_s
    return DrawingTime((low_s + high_s) / 2, high_s, measured=False)


def waiting_time_s(tx: Transaction) -> float | None:
    """Estimate how long a generation that is submitted now will wait; None if no worker is ready."""
    depth, registry = PendingQueue(tx).depth(), WorkerRegistry(tx)
    waits_s = (registry.estimated_wait_s(backend, depth) for backend in (LOCAL, HOSTED))
    return min((wait_s for wait_s in waits_s if wait_s is not None), default=None)


def _measured(durations_s: Sequence[float]) -> DrawingTime:
    deciles = quantiles(durations_s, n=10, method="inclusive")
    return DrawingTime(round(deciles[4], 3), round(deciles[8], 3), measured=True)
