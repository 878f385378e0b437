"""Everything an operator can set, read once at the entrypoint from the environment."""

from server.settings.kinds import SettingInvalid
from server.settings.reading import Settings

__all__ = ["SettingInvalid", "Settings"]
