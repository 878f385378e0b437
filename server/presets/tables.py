"""The table of the presets' uses. The presets themselves are data of the catalogue."""

from sqlalchemy import BigInteger
from sqlalchemy.orm import Mapped, mapped_column

from server.db.base import Table


class PresetUse(Table):
    """How many generations a preset was used for. A preset that was never used has no row."""

    __tablename__ = "preset_uses"

    preset_id: Mapped[str] = mapped_column(primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)
