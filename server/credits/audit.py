"""The audit of the ledger in parts: each compares some accounts with what was posted to them.

What `avatar-creator doctor` reads at once, a running server reads over many rounds, so that its cost at a
time does not grow with the history.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

from sqlalchemy import Row, func, select, update

from server.clock import now
from server.credits.repository import AVAILABLE, HELD
from server.credits.tables import Account, LedgerAudit, Posting
from server.db.unit_of_work import Repository, UnitOfWork

ACCOUNTS_AT_ONCE: Final = 100
POSTINGS_AT_ONCE: Final = 10_000  # rows; a part ends with the account that exceeds it
_AUDIT: Final = LedgerAudit.core()


@dataclass(frozen=True)
class AuditResult:
    """The result of the last whole audit. drifting_accounts: more if the one under way has found more."""

    drifting_accounts: int
    postings_sum: int
    ended_at: datetime


class Compared(NamedTuple):
    """An account, as it was compared with its postings at one moment."""

    drifts: bool
    postings_sum: int
    postings: int


class Audits(Repository):
    """Reads and changes the state of the audit, and compares accounts."""

    def result(self) -> AuditResult | None:
        """Return the result of the last audit; None before the first has ended."""
        row = self._row()
        if row.ended_at is None:
            return None
        return AuditResult(max(row.ended_drifting, row.drifting), row.ended_postings_sum, row.ended_at)

    def is_due(self, period: timedelta) -> bool:
        """Return whether an audit is under way, or the last one ended a period ago."""
        row = self._row()
        return bool(row.position) or row.ended_at is None or row.ended_at <= now() - period

    def position(self) -> str:
        """Return the last user whose account was compared; empty if no audit is under way."""
        return str(self._row().position)

    def users_after(self, user_id: str, most: int) -> list[str]:
        """Return the next users who have an account, in the order of their ids."""
        following = select(Account.user_id).where(Account.user_id > user_id)
        return list(self._session.scalars(following.order_by(Account.user_id).limit(most)))

    def compare(self, user_id: str) -> Compared:
        """Compare an account with its postings, in one statement.

        Two statements would see what is transferred in between as drift.
        """
        posted = {
            name: func.coalesce(func.sum(Posting.amount).filter(Posting.account == name), 0)
            for name in (AVAILABLE, HELD)
        }
        row = self._session.execute(
            select(
                Account.available != posted[AVAILABLE],
                Account.held != posted[HELD],
                func.coalesce(func.sum(Posting.amount), 0),
                func.count(Posting.id),
            )
            .outerjoin(Posting, Posting.user_id == Account.user_id)
            .where(Account.user_id == user_id)
            .group_by(Account.user_id)
        ).one()
        return Compared(bool(row[0] or row[1]), int(row[2]), row[3])

    def go_on(self, before: str, position: str, drifting: int, postings_sum: int) -> bool:
        """Add what was found up to a user, unless another process did; return whether it was added."""
        audit = _AUDIT.c
        found = {
            "position": position,
            "drifting": audit.drifting + drifting,
            "postings_sum": audit.postings_sum + postings_sum,
        }
        changed = update(_AUDIT).where(audit.position == before).values(found).returning(audit.id)
        return self._session.connection().scalar(changed) is not None

    def end(self) -> None:
        """Make what was found the result, and begin anew at the next audit."""
        audit = _AUDIT.c
        result = {
            "ended_at": now(),
            "ended_drifting": audit.drifting,
            "ended_postings_sum": audit.postings_sum,
            "position": "",
            "drifting": 0,
            "postings_sum": 0,
        }
        self._session.connection().execute(update(_AUDIT).values(result))

    def _row(self) -> Row[tuple[object, ...]]:
        return self._session.connection().execute(select(_AUDIT)).one()


def audit_some(uow: UnitOfWork) -> bool:
    """Compare the next accounts with their postings; return whether the audit has ended with them."""
    with uow.read() as tx:
        audits = Audits(tx)
        before = position = audits.position()
        users = audits.users_after(before, ACCOUNTS_AT_ONCE)
        drifting = postings_sum = postings = 0
        for user_id in users:
            compared = audits.compare(user_id)
            drifting += compared.drifts
            postings_sum += compared.postings_sum
            postings += compared.postings
            position = user_id
            if postings >= POSTINGS_AT_ONCE:
                break
    is_last = len(users) < ACCOUNTS_AT_ONCE and (not users or position == users[-1])
    with uow.begin() as tx:
        audits = Audits(tx)
        if not audits.go_on(before, position, drifting, postings_sum):
            return False
        if is_last:
            audits.end()
    return is_last
