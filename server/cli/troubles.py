"""The one place where an expected trouble becomes a sentence and an exit code.

What no line here knows is a bug, and ends in its traceback. Imported only when something went wrong.
"""

import re
from importlib.metadata import requires
from typing import Final

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from catalog.selection import SizeRejected
from inference.errors import DeviceBroken, DeviceUnfit, InferenceError
from inference.local.plan import CardTooSmall
from inference.weights.errors import DownloadFailed
from server.backups.folder import BackupRefused
from server.db.dump import RowMisfit
from server.db.roles import NotPostgresql, RoleUnknown
from server.errors import DatabaseAway, DomainError, OutcomeUnknown
from server.images.store import FULL
from server.settings import SettingInvalid
from server.supervisor.api_process import AddressUnusable
from server.supervisor.data_folder import DataFolderHeld
from server.supervisor.embedded_redis import RedisUnavailable

SPEAKING: Final = (
    AddressUnusable,
    BackupRefused,
    CardTooSmall,
    DataFolderHeld,
    DeviceBroken,
    DeviceUnfit,
    DomainError,
    DownloadFailed,
    InferenceError,
    NotPostgresql,
    RedisUnavailable,
    RoleUnknown,
    RowMisfit,
    SettingInvalid,
    SizeRejected,
)
"""Errors whose message is a sentence for the operator."""

DISTRIBUTION: Final = "avatar-creator"


def in_words(error: Exception) -> tuple[str, int] | None:
    """Return the sentence and the exit code of an expected trouble; None if it is a bug."""
    words = _sentence(error)
    return None if words is None else (words, getattr(error, "exit_code", 1))


def _sentence(error: Exception) -> str | None:  # noqa: PLR0911  # a table, a cause a line
    match error:
        case OutcomeUnknown():
            return "The database did not confirm this, which may have been done: look before you repeat it"
        case DatabaseAway() | OperationalError() | InterfaceError():
            return f"The database does not answer ({_cause(error)})"
        case DBAPIError():
            return f"The database refuses this ({_cause(error)})"
        case ImportError(name=str(name)):
            return _lacking(name)
        case OSError(filename=str(filename), strerror=str(strerror)):
            return f"{filename} cannot be used: {strerror}"
        case OSError(strerror=str(strerror)) if error.errno in FULL:
            return f"It cannot be written: {strerror}"
        case _ if isinstance(error, SPEAKING):
            return str(error)
        case _:
            return None


def _cause(error: Exception) -> str:
    return type(error.__cause__ or error).__name__


def _lacking(module: str) -> str | None:
    """Say which extra brings a module that is not installed; None if none does, which is a bug."""
    package = re.escape(module.partition(".")[0].replace("_", "-"))
    of_extra = re.compile(rf"{package}\b(?!-).*; extra == ['\"](\w+)['\"]", re.IGNORECASE)
    extras = {found[1] for found in map(of_extra.match, requires(DISTRIBUTION) or ()) if found}
    if not extras:
        return None
    return f"{module} is not installed: install the extra {' or '.join(sorted(extras - {'dev'} or extras))}"
