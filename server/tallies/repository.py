"""What is counted in the transaction in which it happens, so that a scrape reads no history."""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy import BigInteger, cast, delete, func, insert, select, union_all

from server.db.base import upsert
from server.db.unit_of_work import Repository
from server.tallies.tables import Tally, Uncounted

COMPLETED: Final = "completed"
ENDED, STAGE, STAGE_US, STEPS = "ended", "stage", "stage_us", "steps"
"""The kinds: ends by outcome, stages gone through and their microseconds by stage, denoising steps."""
MOVED: Final = "moved"
"""The kind of what a trigger counts: credits by kind of transfer, of no entry. See revision 0015."""

Key = tuple[str, str, str]
"""Kind, entry and part."""


class Tallies(Repository):
    """Counts, and reads the counts.

    A transaction that counts adds rows of its own, and so waits for nobody. The reaper adds them up later.
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
        self._note(counts)

    def count_failed(self, failures: Iterable[tuple[str, str]]) -> None:
        """Count generations that have failed, each by its entry's key and its errorCode."""
        self._note(Counter((ENDED, entry_key, error_code) for entry_key, error_code in failures))

    def all(self) -> Mapping[Key, int]:
        """Return every tally, with what is not added to it yet."""
        both = union_all(
            select(Tally.kind, Tally.entry, Tally.part, Tally.value),
            select(Uncounted.kind, Uncounted.entry, Uncounted.part, Uncounted.value),
        ).subquery()
        keys = (both.c.kind, both.c.entry, both.c.part)
        total = cast(func.sum(both.c.value), BigInteger)  # PostgreSQL's sum of these is no integer
        rows = self._session.execute(select(*keys, total).group_by(*keys))
        return {(kind, entry, part): value for kind, entry, part, value in rows}

    def any_uncounted(self) -> bool:
        """Return whether something is to be added up."""
        return self._session.scalar(select(Uncounted.id).limit(1)) is not None

    def add_up(self, most: int) -> Mapping[Key, int]:
        """Add the oldest rows to the tallies, so many at most; return what they add."""
        oldest = select(Uncounted.id).order_by(Uncounted.id).limit(most).with_for_update(skip_locked=True)
        rows = self._session.execute(
            delete(Uncounted)
            .where(Uncounted.id.in_(oldest))
            .returning(Uncounted.kind, Uncounted.entry, Uncounted.part, Uncounted.value)
            .execution_options(synchronize_session=False)
        )
        counts: Counter[Key] = Counter()
        for kind, entry, part, value in rows:
            counts[kind, entry, part] += value
        self._add(counts)
        return counts

    def _note(self, counts: Mapping[Key, int]) -> None:
        if counts:
            self._session.execute(insert(Uncounted.core()), _rows(counts))

    def _add(self, counts: Mapping[Key, int]) -> None:
        if not counts:
            return
        row = upsert(self._session, Tally.core()).values(_rows(counts))
        total = Tally.core().c.value + row.excluded.value
        keys = ["kind", "entry", "part"]
        self._session.execute(row.on_conflict_do_update(index_elements=keys, set_={"value": total}))


def _rows(counts: Mapping[Key, int]) -> list[dict[str, Any]]:
    return [
        {"kind": kind, "entry": entry, "part": part, "value": counts[kind, entry, part]}
        for kind, entry, part in sorted(counts)
    ]
