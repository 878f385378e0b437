"""When API keys were last used. Requests only note it; a thread writes it down."""

import threading
from typing import TYPE_CHECKING

from server.accounts.repository import USE_PRECISION, Users
from server.clock import now
from server.db.unit_of_work import UnitOfWork
from server.errors import DatabaseAway
from server.logs import get_log

if TYPE_CHECKING:
    from datetime import datetime

log = get_log(__name__)


class KeyUses:
    """The uses of keys in this process that are not written yet."""

    def __init__(self, uow: UnitOfWork) -> None:
        self._uow = uow
        self._lock = threading.Lock()
        self._noted: dict[str, datetime] = {}

    def note(self, key_id: str) -> None:
        """Note that a key is used now."""
        with self._lock:
            self._noted[key_id] = now()

    def run(self, stopped: threading.Event) -> None:
        """Write what was noted, once a minute until stopped and then once more."""
        while not stopped.wait(USE_PRECISION.total_seconds()):
            self.write()
        self.write()

    def write(self) -> None:
        """Write what was noted. If that fails it is lost: the next use of a key is noted again."""
        with self._lock:
            noted, self._noted = self._noted, {}
        if not noted:
            return
        try:
            with self._uow.begin() as tx:
                Users(tx).record_uses(noted)
        except DatabaseAway:
            log.warning("key_uses.database_away", keys=len(noted))
        except Exception:
            log.exception("key_uses.failed")
