"""The reaper: what was lost comes back, what cannot be drawn is given back, whatever process died.

It runs in every API process and every worker, one at a time by a row in the database.
"""

import threading
import uuid
from datetime import timedelta
from typing import Final

from sqlalchemy import select, update

from server.clock import now
from server.db.tables import Turn
from server.db.unit_of_work import UnitOfWork
from server.errors import DatabaseAway
from server.generations import settlement
from server.generations.states import Reason
from server.images.store import ImageStore
from server.queues.bell import Bell
from server.settings import Settings
from server.telemetry import get_log

log = get_log(__name__)

SWEEP_PERIOD: Final = timedelta(hours=1)
RINGS_AT_ONCE: Final = 500


class Reaper:
    """Does the chores of the queue, each time it is its turn."""

    def __init__(self, uow: UnitOfWork, bell: Bell, images: ImageStore, settings: Settings) -> None:
        self._uow = uow
        self._bell = bell
        self._images = images
        self._settings = settings
        self._name = uuid.uuid4().hex

    def run(self, stopped: threading.Event) -> None:
        """Do the chores periodically until told to stop; a fault is logged, the next round tries again."""
        while not stopped.wait(self._settings.reaper_period_s):
            try:
                self.round()
            except DatabaseAway:
                log.warning("reaper.database_away")
            except Exception:
                log.exception("reaper.failed")

    def round(self) -> None:
        """Do what is due, if no other process does it."""
        if self._has_turn("queue", timedelta(seconds=self._settings.reaper_period_s)):
            self.return_lost()
            self.fail_hopeless()
            self.ring_for_forgotten()
        if self._has_turn("images", SWEEP_PERIOD):
            self.sweep_images()

    def return_lost(self) -> int:
        """Return to the queue what expired leases held."""
        return settlement.lose(self._uow)

    def fail_hopeless(self) -> int:
        """Fail what waited too long or lost too many workers, and give it back."""
        settings = self._settings
        with self._uow.read() as tx:
            poisonous = tx.generations.poisonous(settings.max_attempts)
            late = tx.generations.waiting_since_before(now() - timedelta(seconds=settings.queue_max_wait_s))
        failed = 0
        if poisonous:
            message = f"The worker was lost {settings.max_attempts} times while drawing it."
            failed += settlement.fail_waiting(self._uow, poisonous, Reason.INTERNAL_ERROR, message)
        if late:
            message = f"No worker took it up within {settings.queue_max_wait_s:g} seconds."
            failed += settlement.fail_waiting(self._uow, late, Reason.GENERATION_TIMEOUT, message)
        return failed

    def ring_for_forgotten(self) -> int:
        """Ring once for every pending generation that no waiting ring stands for: Redis may lose some."""
        rings = self._bell.waiting()
        if rings is None:
            return 0
        with self._uow.read() as tx:
            missing = tx.generations.depth() - rings
            forgotten = tx.generations.oldest_pending(min(missing, RINGS_AT_ONCE)) if missing > 0 else []
        if forgotten:
            self._bell.ring(*forgotten)
            log.info("bell.rung_again", rings=len(forgotten))
        return len(forgotten)

    def sweep_images(self) -> int:
        """Delete images that no avatar owns, once they are older than any settlement takes."""
        swept = 0
        before = now() - timedelta(seconds=self._settings.orphan_image_age_s)
        for keys in self._images.older_than(before):
            with self._uow.read() as tx:
                owned = tx.avatars.owned_images(keys)
            for key in set(keys) - owned:
                self._images.delete(key)
                swept += 1
        if swept:
            log.info("images.swept", images=swept)
        return swept

    def _has_turn(self, chore: str, period: timedelta) -> bool:
        """Take the turn at a chore for a period, unless another process has it."""
        moment = now()
        with self._uow.read() as tx:
            until = tx.session.scalar(select(Turn.until).where(Turn.name == chore))
            if until is None or until > moment:
                return False
        with self._uow.begin() as tx:
            taken = tx.session.scalar(
                update(Turn)
                .where(Turn.name == chore, Turn.until <= moment)
                .values(holder=self._name, until=moment + period)
                .returning(Turn.name)
            )
        return taken is not None
