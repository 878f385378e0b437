"""The uses of presets in the database."""

from collections.abc import Mapping

from sqlalchemy import select

from server.db.base import upsert
from server.db.unit_of_work import Repository
from server.presets.tables import PresetUse


class PresetUses(Repository):
    """Counts the uses of presets and reads the counts."""

    def add_one(self, preset_id: str) -> None:
        """Count one use. The row stays locked until the transaction ends: count last."""
        insert = upsert(self._session, PresetUse.core()).values(preset_id=preset_id, count=1)
        raised = {"count": PresetUse.core().c.count + 1}
        self._session.execute(insert.on_conflict_do_update(index_elements=["preset_id"], set_=raised))

    def all(self) -> Mapping[str, int]:
        """Return how often each preset was used, by its id; those that never were are missing."""
        rows = self._session.execute(select(PresetUse.preset_id, PresetUse.count.label("uses")))
        return {row.preset_id: row.uses for row in rows}
