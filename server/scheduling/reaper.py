"""The reaper: returns lost work to the queue, and gives back the credits of what cannot be drawn.

It runs in every API process and every worker's watchdog; leader locks let one at a time do each task.
"""

import threading
import uuid
from datetime import timedelta
from typing import Final

from server.clock import now
from server.credits.audit import Audits, audit_some
from server.db.unit_of_work import UnitOfWork
from server.entries.repository import Entries
from server.errors import DatabaseAway
from server.generations import settlement
from server.generations.previews import Previews
from server.generations.queue import PendingQueue
from server.generations.states import Reason
from server.idempotency.repetitions import RepeatableRequests
from server.idempotency.repository import KEPT, KeptAnswers
from server.images.store import ImageStore, is_full
from server.logs import get_log
from server.scheduling.image_sweep import ImageSweep
from server.scheduling.leader_lock import lead
from server.settings import Settings
from server.tallies.repository import COMPLETED, ENDED, Tallies

log = get_log(__name__)

ADDED_AT_ONCE: Final = 10_000  # rows; a generation has about eight
SWEEP_PERIOD: Final = timedelta(hours=1)


class Reaper:
    """Does the periodic tasks of the queue, the ledger, the image store and the idempotency keys."""

    def __init__(self, uow: UnitOfWork, images: ImageStore, settings: Settings) -> None:
        self._uow = uow
        self._sweep = ImageSweep(uow, images, settings)
        self._settings = settings
        self._name = uuid.uuid4().hex

    def run(self, stopped: threading.Event) -> None:
        """Do what is due periodically until stopped. A fault is logged, and the next round tries again."""
        while not stopped.wait(self._settings.server.reaper_period_s):
            try:
                self.round()
            except DatabaseAway:
                log.warning("reaper.database_away")
            except Exception as error:
                if is_full(error):
                    log.warning("reaper.storage_full")
                else:
                    log.exception("reaper.failed")

    def round(self) -> None:
        """Do what is due, if no other process does it."""
        period = timedelta(seconds=self._settings.server.reaper_period_s)
        if lead(self._uow, "queue", self._name, period):
            self.return_lost()
            self.fail_hopeless()
            self.add_up()
        if lead(self._uow, "images", self._name, SWEEP_PERIOD):
            self.forget_answers()
            self.sweep_images()
        if self._audit_is_due() and lead(self._uow, "audit", self._name, period):
            self.audit_ledger()

    def return_lost(self) -> int:
        """Return to the queue what expired leases held."""
        return settlement.return_lost(self._uow)

    def fail_hopeless(self) -> int:
        """Fail what waited too long or lost too many workers, and give it back."""
        settings = self._settings
        with self._uow.read() as tx:
            poisonous = PendingQueue(tx).poisonous(settings.worker.max_attempts)
            late = PendingQueue(tx).waiting_since_before(
                now() - timedelta(seconds=settings.server.queue_max_wait_s)
            )
        failed = 0
        if poisonous:
            message = f"The worker was lost {settings.worker.max_attempts} times while drawing it."
            failed += settlement.fail_waiting(self._uow, poisonous, Reason.INTERNAL_ERROR, message)
        if late:
            message = f"No worker took it up within {settings.server.queue_max_wait_s:g} seconds."
            failed += settlement.fail_waiting(self._uow, late, Reason.GENERATION_TIMEOUT, message)
        return failed

    def add_up(self) -> None:
        """Add what was counted to the tallies, and to the uses of the entries."""
        with self._uow.read() as tx:
            if not Tallies(tx).any_uncounted():
                return
        with self._uow.begin() as tx:
            for (kind, entry_key, part), count in Tallies(tx).add_up(ADDED_AT_ONCE).items():
                if (kind, part) == (ENDED, COMPLETED):
                    Entries(tx).add_uses(entry_key, count)

    def audit_ledger(self) -> bool:
        """Compare the next accounts with the ledger; return whether the audit has ended with them."""
        return audit_some(self._uow)

    def forget_answers(self) -> int:
        """Delete kept answers and requests that are too old to be repeated, and previews of the past."""
        with self._uow.begin() as tx:
            answers, requests = KeptAnswers(tx).forget(now() - KEPT), RepeatableRequests(tx).forget()
            return answers + requests + Previews(tx).forget()

    def sweep_images(self) -> int:
        """Move images that no avatar owns into quarantine, and delete what is there long enough."""
        return self._sweep.run()

    def _audit_is_due(self) -> bool:
        with self._uow.read() as tx:
            return Audits(tx).is_due(timedelta(seconds=self._settings.metrics.ledger_audit_period_s))
