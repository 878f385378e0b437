"""Runs one attempt after another, and survives their failures."""

import time
from collections.abc import Callable
from typing import Final

from server.errors import DatabaseAway
from server.generations.claims import LeaseLost
from server.images.store import StorageFull
from server.logs import get_log
from server.spending.repository import BudgetSpent
from server.worker.attempt import Attempt, WorkerContext

log = get_log(__name__)

AWAY_LOGGED_S: Final = 60.0  # an idle worker looks every second: its log would hold nothing else
STORAGE_RETRY_S: Final = 30.0  # drawing for a disk that is still full would be in vain


class Runner:
    """Draws one generation at a time on one backend."""

    def __init__(self, context: WorkerContext, clock: Callable[[], float] = time.monotonic) -> None:
        self.context = context
        self._budget_logged = False
        self._clock = clock
        self._stores_again_at = 0.0
        self._away_logged_at: float | None = None
        """When it was last logged that the database is away; None while it answers."""

    def run_next(self) -> bool:
        """Draw whichever generation is due; return whether there was one."""
        if self.context.stop.received.is_set() or not self._can_store():
            return False
        self.context.heartbeat.busy(self.context.settings.worker.phase_timeout_s)
        try:
            attempt = Attempt.claim(self.context)
            self._log_back()
            self._budget_logged = False
            if attempt is not None:
                attempt.run()
                return True
        except LeaseLost as error:
            fenced = error.claim
            log.warning("generation.fenced_out", generation_id=fenced.generation_id, attempt=fenced.attempt)
        except StorageFull as error:
            self._wait_for_room(str(error.__cause__))
        except BudgetSpent as error:
            # Pending generations wait for tomorrow, or until QUEUE_MAX_WAIT_S gives them back.
            if not self._budget_logged:
                log.warning("worker.budget_spent", seconds_left=error.retry_after_s)
            self._budget_logged = True
        except DatabaseAway:
            # An unsettled generation returns to the queue when its lease runs out.
            self._log_away()
        finally:
            self.context.heartbeat.idle()
        return False

    def _log_away(self) -> None:
        """Log that the database went away, and while it stays away once a minute."""
        moment = self._clock()
        if self._away_logged_at is None or moment - self._away_logged_at >= AWAY_LOGGED_S:
            log.warning("worker.database_away")
            self._away_logged_at = moment

    def _log_back(self) -> None:
        if self._away_logged_at is not None:
            log.info("worker.database_back")
            self._away_logged_at = None

    def _can_store(self) -> bool:
        """Return whether an image can be stored: a generation is not drawn for a full disk."""
        if self._clock() < self._stores_again_at:
            return False
        if self.context.images.has_room():
            return True
        self._wait_for_room("no room")
        return False

    def _wait_for_room(self, cause: str) -> None:
        log.error("worker.storage_full", cause=cause, retry_s=STORAGE_RETRY_S)
        self._stores_again_at = self._clock() + STORAGE_RETRY_S
