"""Whether the disk takes images. Nothing is drawn for a full one."""

import time
from collections.abc import Callable
from typing import Final

from server.images.store import ImageStore, StorageFull
from server.logs import get_log

log = get_log(__name__)

STORAGE_RETRY_S: Final = 30.0  # drawing for a disk that is still full would be in vain


class StorageRoom:
    """Remembers for a while that the disk was full. Used by the thread that draws and the one that stores."""

    def __init__(self, images: ImageStore, clock: Callable[[], float] = time.monotonic) -> None:
        self._images = images
        self._clock = clock
        self._full_until: float | None = None

    def is_there(self) -> bool:
        """Return whether an image can be stored."""
        if self._was_full():
            return False
        if self._images.has_room():
            return True
        self.record_full("no room")
        return False

    def check(self) -> None:
        """Check that nothing has failed to be stored since the drawing began.

        Raises:
            StorageFull: something has.

        """
        if self._was_full():
            raise StorageFull

    def record_full(self, cause: str) -> None:
        """Record that the disk takes no more."""
        if not self._was_full():  # of a batch, the first says it for all
            log.error("worker.storage_full", cause=cause, retry_s=STORAGE_RETRY_S)
        self._full_until = self._clock() + STORAGE_RETRY_S

    def _was_full(self) -> bool:
        return self._full_until is not None and self._clock() < self._full_until
