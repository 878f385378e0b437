"""Runs one attempt after another, and survives their failures."""

from server.errors import DatabaseAway
from server.generations.claims import LeaseLost
from server.logs import get_log
from server.spending.repository import BudgetSpent
from server.worker.attempt import Attempt, WorkerContext

log = get_log(__name__)


class Runner:
    """Draws one generation at a time on one backend."""

    def __init__(self, context: WorkerContext) -> None:
        self.context = context
        self._budget_logged = False

    def run_next(self) -> bool:
        """Draw whichever generation is due; return whether there was one."""
        if self.context.stop.received.is_set():
            return False
        self.context.heartbeat.busy(self.context.settings.worker.phase_timeout_s)
        try:
            attempt = Attempt.claim(self.context)
            self._budget_logged = False
            if attempt is not None:
                attempt.run()
                return True
        except LeaseLost as error:
            fenced = error.claim
            log.warning("generation.fenced_out", generation_id=fenced.generation_id, attempt=fenced.attempt)
        except BudgetSpent as error:
            # Pending generations wait for tomorrow, or until QUEUE_MAX_WAIT_S gives them back.
            if not self._budget_logged:
                log.warning("worker.budget_spent", seconds_left=error.retry_after_s)
            self._budget_logged = True
        except DatabaseAway:
            # An unsettled generation returns to the queue when its lease runs out.
            log.warning("worker.database_away")
        finally:
            self.context.heartbeat.idle()
        return False
