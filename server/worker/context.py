"""What a worker process works with."""

from dataclasses import dataclass, field

from inference.backend import Backend
from server.db.unit_of_work import UnitOfWork
from server.images.store import ImageStore
from server.scheduling.claim_policy import ClaimPolicy
from server.scheduling.swap_budget import SwapBudget
from server.settings import Settings
from server.supervisor.heartbeat import Heartbeat
from server.worker.lease_guard import StopRequest
from server.worker.storage_room import StorageRoom


@dataclass(frozen=True)
class WorkerContext:
    """What a worker process works with, in all of its attempts."""

    worker: str
    uow: UnitOfWork
    backend: Backend
    images: ImageStore
    room: StorageRoom
    settings: Settings
    heartbeat: Heartbeat
    stop: StopRequest
    policy: ClaimPolicy
    swaps: SwapBudget = field(default_factory=SwapBudget)
