"""What is counted in the transaction in which it happens, so that a scrape reads no history."""

from collections.abc import Iterable, Mapping
from typing import Final

from sqlalchemy import select
from sqlalchemy.orm import Session

from server.db.tables import Generation, Tally
from server.db.upsert import upsert

COMPLETED: Final = "completed"
ENDED, STAGE, STAGE_US, STEPS = "ended", "stage", "stage_us", "steps"
"""The kinds: ends by outcome, stages gone through and their microseconds by stage, denoising steps."""


Key = tuple[str, str, str]
"""Kind, entry and part."""


class Tallies:
    """Adds to the tallies and reads them, inside the caller's transaction.

    Every settlement of an entry adds to the same rows. It does so last, and in the order of the keys: the
    rows are locked for a moment only, and no two transactions wait for each other.
    """

    def __init__(self, session: Session) -> None:
        self._session = session

    def count_completed(self, generation: Generation, seconds: Mapping[str, float]) -> None:
        """Count a generation that was delivered. seconds: by stage."""
        entry = generation.entry_key
        counts = {(ENDED, entry, COMPLETED): 1}
        for stage, spent in seconds.items():
            counts[STAGE, entry, stage] = 1
            # Whole numbers: a sum of fractions depends on their order.
            counts[STAGE_US, entry, stage] = round(spent * 1e6)
        if "step" in seconds:  # a provider's steps are seen by nobody
            counts[STEPS, entry, ""] = generation.recipe["steps"]
        self._add(counts)

    def count_failed(self, generations: Iterable[Generation]) -> None:
        """Count generations that have failed, by errorCode; a cancellation is one."""
        counts: dict[Key, int] = {}
        for generation in generations:
            key = ENDED, generation.entry_key, str(generation.error_code)
            counts[key] = counts.get(key, 0) + 1
        self._add(counts)

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
