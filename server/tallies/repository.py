"""What is counted in the transaction in which it happens, so that a scrape reads no history."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Final

from sqlalchemy import select

from server.db.base import upsert
from server.db.unit_of_work import Repository
from server.tallies.tables import Tally

COMPLETED: Final = "completed"
ENDED, STAGE, STAGE_US, STEPS = "ended", "stage", "stage_us", "steps"
"""The kinds: ends by outcome, stages gone through and their microseconds by stage, denoising steps."""

Key = tuple[str, str, str]
"""Kind, entry and part."""


class Tallies(Repository):
    """Adds to the tallies and reads them.

    Settlements of an entry update the same rows. Each does so last and in the order of the keys: rows are
    locked briefly, and no two transactions wait for each other.
    """

    def count_completed(self, entry_key: str, steps: int, seconds: Mapping[str, float]) -> None:
        """Count a generation that was delivered. seconds: by stage."""
        counts = {(ENDED, entry_key, COMPLETED): 1}
        for stage, spent in seconds.items():
            counts[STAGE, entry_key, stage] = 1
            # Whole numbers: a sum of fractions depends on their order.
            counts[STAGE_US, entry_key, stage] = round(spent * 1e6)
        if "step" in seconds:  # nobody sees a provider's steps
            counts[STEPS, entry_key, ""] = steps
        self._add(counts)

    def count_failed(self, failures: Iterable[tuple[str, str]]) -> None:
        """Count generations that have failed, each by its entry's key and its errorCode."""
        self._add(Counter((ENDED, entry_key, error_code) for entry_key, error_code in failures))

    def all(self) -> Mapping[Key, int]:
        """Return every tally."""
        rows = self._session.execute(select(Tally.kind, Tally.entry, Tally.part, Tally.value))
        return {(kind, entry, part): value for kind, entry, part, value in rows}

    def _add(self, counts: Mapping[Key, int]) -> None:
        if not counts:
            return
        insert = upsert(self._session, Tally.core())
        row = insert.values(
            [
                {"kind": kind, "entry": entry, "part": part, "value": counts[kind, entry, part]}
                for kind, entry, part in sorted(counts)
            ]
        )
        total = Tally.core().c.value + row.excluded.value
        keys = ["kind", "entry", "part"]
        self._session.execute(row.on_conflict_do_update(index_elements=keys, set_={"value": total}))
