"""Runs one batch after another, and survives their failures."""

import time
from collections.abc import Callable
from typing import Final

from server.errors import DatabaseAway
from server.logs import get_log
from server.spending.repository import BudgetSpent
from server.worker.attempt import released_on_exit
from server.worker.claiming import claim_batch
from server.worker.context import WorkerContext
from server.worker.delivery import Deliveries
from server.worker.drawing import Drawing

log = get_log(__name__)

AWAY_LOGGED_S: Final = 60.0  # an idle worker looks every second: its log would hold nothing else


class Runner:
    """Draws one batch at a time on one backend, and has the last one delivered meanwhile."""

    def __init__(self, context: WorkerContext, clock: Callable[[], float] = time.monotonic) -> None:
        self.context = context
        self._drawing = Drawing(context)
        self._deliveries = Deliveries(context)
        self._budget_logged = False
        self._clock = clock
        self._away_logged_at: float | None = None
        """When it was last logged that the database is away; None while it answers."""

    def run_next(self) -> bool:
        """Draw whichever generations are due; return whether there were any. They may still be delivered."""
        if self.context.stop.received.is_set() or not self.context.room.is_there():
            return False
        self.context.heartbeat.busy(self.context.settings.worker.phase_timeout_s)
        try:
            attempts = claim_batch(self.context)
            self._log_back()
            self._budget_logged = False
            with released_on_exit(attempts):
                self._deliveries.hand_over(self._drawing.draw(attempts))
            self.context.device.look(self.context.backend)
            return bool(attempts)
        except BudgetSpent as error:
            # Pending generations wait for tomorrow, or until QUEUE_MAX_WAIT_S gives them back.
            if not self._budget_logged:
                log.warning("worker.budget_spent", seconds_left=error.retry_after_s)
            self._budget_logged = True
        except DatabaseAway:
            self._log_away()
        finally:
            self.context.heartbeat.idle()
        return False

    def close(self) -> None:
        """Wait until all that was drawn is delivered."""
        self._deliveries.close()

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
