"""What a worker process works with."""

from dataclasses import dataclass, field

from inference.backend import Backend
from server.db.unit_of_work import UnitOfWork
from server.images.store import ImageStore
from server.scheduling.claim_policy import ClaimPolicy
from server.scheduling.registry import NOTHING, Reported
from server.scheduling.swap_budget import SwapBudget
from server.settings import Settings
from server.supervisor.heartbeat import Heartbeat
from server.worker.lease_guard import StopRequest
from server.worker.storage_room import StorageRoom


class DeviceWatch:
    """What the device was like when it was last looked at.

    Only the thread that draws may ask the backend, so it looks; that of the heartbeats reads `reported`.
    """

    def __init__(self) -> None:
        self.reported: Reported = NOTHING

    def look(self, backend: Backend) -> None:
        """Note the device, its memory and the models in it."""
        device = backend.device
        self.reported = Reported(device.name, device.used_bytes, device.total_bytes, sorted(backend.resident))


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
    device: DeviceWatch = field(default_factory=DeviceWatch)
    swaps: SwapBudget = field(default_factory=SwapBudget)
