"""Open holds and unfinished generations, which belong together: one hold for each."""

from contextlib import suppress
from dataclasses import dataclass

from sqlalchemy import func, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import aliased

from server.credits.errors import HoldMissing
from server.credits.repository import Ledger
from server.credits.tables import Transfer
from server.db.unit_of_work import Repository, UnitOfWork
from server.generations.states import UNFINISHED
from server.generations.tables import Generation
from server.logs import get_log

log = get_log(__name__)


@dataclass(frozen=True)
class StrandedHold:
    """An open hold that nothing will settle: its generation has ended or is gone."""

    reference_id: str
    user_id: str
    credits: int


class Holds(Repository):
    """Compares the open holds with the generations. Each question is one statement, so one moment."""

    def stranded(self) -> list[StrandedHold]:
        """Return the open holds without an unfinished generation."""
        hold, end = aliased(Transfer), aliased(Transfer)
        rows = self._session.execute(
            select(hold.reference_id, hold.user_id, hold.credits)
            .outerjoin(end, end.settles_id == hold.id)
            .outerjoin(Generation, Generation.id == hold.reference_id)
            .where(
                hold.kind == "hold",
                end.id.is_(None),
                or_(Generation.id.is_(None), Generation.status.not_in(UNFINISHED)),
            )
            .order_by(hold.id)
        )
        return [StrandedHold(*row) for row in rows]

    def count_without(self) -> int:
        """Return how many unfinished generations have no open hold."""
        hold, end = aliased(Transfer), aliased(Transfer)
        is_open = (
            select(hold.id)
            .outerjoin(end, end.settles_id == hold.id)
            .where(hold.kind == "hold", hold.reference_id == Generation.id, end.id.is_(None))
        )
        unfinished = Generation.status.in_(UNFINISHED)
        return self._session.scalar(select(func.count()).where(unfinished, ~is_open.exists())) or 0


def void_stranded(uow: UnitOfWork) -> list[StrandedHold]:
    """Give the credits of stranded holds back, one transaction each; return those that were."""
    with uow.read() as tx:
        stranded = Holds(tx).stranded()
    voided = []
    for hold in stranded:
        with suppress(IntegrityError, HoldMissing):  # settled meanwhile: a hold ends once
            with uow.begin() as tx:
                Ledger(tx).void(hold.reference_id)
            voided.append(hold)
            log.info(
                "hold.voided", user_id=hold.user_id, reference_id=hold.reference_id, credits=hold.credits
            )
    return voided
