"""Two-phase credits: grant, hold, then capture or void, in the caller's transaction."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from sqlalchemy import bindparam, func, insert, literal, select, text, update
from sqlalchemy.orm import aliased

from server.credits.errors import CaptureBeyondHold, GrantDiffers, HoldMissing, InsufficientCredits
from server.credits.history import GRANT, PAYMENT, HistoryEntry, kind_of
from server.credits.tables import Account, Posting, Transfer
from server.db.base import one_of
from server.db.unit_of_work import Repository

AVAILABLE: Final = "available"
HELD: Final = "held"


_ACCOUNTS: Final = Account.core()
_MOVE: Final = (
    update(_ACCOUNTS)
    .where(
        _ACCOUNTS.c.user_id == bindparam("of_user"),
        _ACCOUNTS.c.available + bindparam("more_available") >= 0,
        _ACCOUNTS.c.held + bindparam("more_held") >= 0,
    )
    .values(
        available=_ACCOUNTS.c.available + bindparam("more_available"),
        held=_ACCOUNTS.c.held + bindparam("more_held"),
    )
    .returning(_ACCOUNTS.c.available)
)
_HELD: Final = select(func.sum(_ACCOUNTS.c.held)).where(text("held > 0"))  # as its partial index says
_TRANSFER: Final = insert(Transfer.core()).inline()  # nobody asks for its id


@dataclass(frozen=True)
class Drift:
    """A difference between an account and the ledger. There should never be one."""

    user_id: str
    account: str
    stored: int
    posted: int


class Ledger(Repository):
    """The accounts and the append-only double-entry ledger behind them.

    The database inserts a transfer's postings, and refuses a transfer that breaks a rule, such as a second
    settlement of the same hold: that rolls its transaction back.
    """

    def open_account(self, user_id: str, first_credits: int = 0, description: str = "") -> None:
        """Open a user's account with the first credits in it."""
        self._session.add(Account(user_id=user_id, available=0, held=0))
        self._session.flush()
        if first_credits:
            self.grant(user_id, first_credits, description, user_id, reference=f"first:{user_id}")

    def available(self, user_id: str) -> int:
        """Return the credits that a user can spend."""
        return self._session.scalar(select(Account.available).where(Account.user_id == user_id)) or 0

    def balances(self, user_id: str) -> tuple[int, int]:
        """Return the credits that a user can spend, and those that are held."""
        account = self._session.get(Account, user_id)
        return (0, 0) if account is None else (account.available, account.held)

    def balances_of(self, user_ids: Iterable[str]) -> dict[str, tuple[int, int]]:
        """Return for each of some users the credits that can be spent, and those that are held."""
        rows = self._session.execute(
            select(Account.user_id, Account.available, Account.held).where(
                one_of(self._session, Account.__table__.c.user_id, user_ids)
            )
        )
        return {user_id: (available, held) for user_id, available, held in rows}

    def grant(
        self,
        user_id: str,
        granted: int,
        description: str,
        reference_id: str,
        payment_id: str | None = None,
        reference: str | None = None,
    ) -> int:
        """Issue credits to a user and return what is then available.

        payment_id: what they were bought with; None if they are a gift. reference: what the giver calls this
        grant; none other may have it.
        """
        balance = self._move(user_id, available=granted, held=0)
        if balance is None:
            raise LookupError(f"user {user_id} has no account")
        purpose = (GRANT, reference_id) if payment_id is None else (PAYMENT, payment_id)
        self._transfer(user_id, "grant", granted, balance, *purpose, description, grant_reference=reference)
        return balance

    def was_granted(self, user_id: str, granted: int, reference: str) -> bool:
        """Return whether this very grant was made already. Until the commit nobody else makes it.

        Raises:
            GrantDiffers: another user or another amount was granted under the reference.

        """
        self._session.scalar(select(Account.user_id).where(Account.user_id == user_id).with_for_update())
        made = self._session.execute(
            select(Transfer.user_id, Transfer.credits).where(Transfer.grant_reference == reference)
        ).one_or_none()
        if made is not None and (made.user_id, made.credits) != (user_id, granted):
            raise GrantDiffers(reference, made.user_id, made.credits)
        return made is not None

    def hold(
        self, user_id: str, held: int, reference_id: str, description: str, reference_type: str = "generation"
    ) -> int:
        """Reserve the price of a generation, or of what else is sold, and return what is then available.

        Raises:
            InsufficientCredits: the available credits do not cover it; nothing was held.

        """
        balance = self._move(user_id, available=-held, held=held)
        if balance is None:
            raise InsufficientCredits(required=held, available=self.available(user_id))
        self._transfer(user_id, "hold", held, balance, reference_type, reference_id, description)
        return balance

    def capture(self, generation_id: str, captured: int) -> None:
        """Take up to the whole hold of a generation for good; the rest comes back at once.

        Raises:
            CaptureBeyondHold: more than was held.
            IntegrityError: the hold has already ended.

        """
        hold = self._hold_of(generation_id)
        if not 0 <= captured <= hold.credits:
            raise CaptureBeyondHold(hold.credits, captured)
        self._settle(hold, "capture", captured, rest=hold.credits - captured)

    def void(self, generation_id: str) -> None:
        """Give the whole hold of a generation back.

        Raises:
            IntegrityError: the hold has already ended.

        """
        hold = self._hold_of(generation_id)
        self._settle(hold, "void", hold.credits, rest=hold.credits)

    def history(self, user_id: str, limit: int) -> list[HistoryEntry]:
        """Return the last transfers that changed what a user can spend, or recorded a free use, newest first.

        A capture of a whole hold did neither: the hold did.
        """
        moved = (Posting.transfer_id == Transfer.id) & (Posting.account == AVAILABLE)
        rows = self._session.execute(
            select(Transfer, func.coalesce(Posting.amount, 0))
            .outerjoin(Posting, moved)
            # A range and its order, which only the user's index has: with an equality PostgreSQL may walk
            # through the transfers of all users in the order of their ids, until it has enough of this one's.
            .where(
                Transfer.user_id.between(user_id, user_id),
                (Transfer.kind != "capture") | Posting.id.is_not(None),
            )
            .order_by(Transfer.user_id.desc(), Transfer.id.desc())
            .limit(limit)
        )
        return [
            HistoryEntry(
                id=transfer.id,
                user_id=transfer.user_id,
                kind=kind_of(transfer.kind, transfer.reference_type),
                amount=int(amount),
                balance=transfer.balance,
                description=transfer.description,
                reference_type=transfer.reference_type,
                reference_id=transfer.reference_id,
                created_at=transfer.created_at,
            )
            for transfer, amount in rows
        ]

    def captured(self, generation_ids: Iterable[str]) -> dict[str, int]:
        """Return the credits that were captured for each of the generations."""
        hold, capture = aliased(Transfer), aliased(Transfer)
        rows = self._session.execute(
            select(hold.reference_id, capture.credits)
            .join(capture, capture.settles_id == hold.id)
            .where(
                hold.kind == literal("hold", literal_execute=True),  # so that SQLite uses the partial index
                hold.reference_id.in_(list(generation_ids)),
                capture.kind == "capture",
            )
        )
        return {generation_id: int(taken) for generation_id, taken in rows}

    def sum_of_postings(self) -> int:
        """Return the sum of all postings, which is zero unless credits were made or lost."""
        return int(self._session.scalar(select(func.sum(Posting.amount))) or 0)

    def drifts(self) -> list[Drift]:
        """Return every account whose stored credits differ from what was posted to it."""
        posted = {
            name: func.coalesce(func.sum(Posting.amount).filter(Posting.account == name), 0)
            for name in (AVAILABLE, HELD)
        }
        rows = self._session.execute(
            select(Account.user_id, Account.available, Account.held, posted[AVAILABLE], posted[HELD])
            .outerjoin(Posting, Posting.user_id == Account.user_id)
            .group_by(Account.user_id)
        )
        drifts = []
        for user_id, available, held, posted_available, posted_held in rows:
            drifts.append(Drift(user_id, AVAILABLE, available, int(posted_available)))
            drifts.append(Drift(user_id, HELD, held, int(posted_held)))
        return [drift for drift in drifts if drift.stored != drift.posted]

    def held(self) -> int:
        """Return the credits that are held now, of all users together."""
        return int(self._session.connection().scalar(_HELD) or 0)

    def _hold_of(self, generation_id: str) -> Transfer:
        hold = self._session.scalar(
            select(Transfer).where(Transfer.kind == "hold", Transfer.reference_id == generation_id)
        )
        if hold is None:
            raise HoldMissing(generation_id)
        return hold

    def _settle(self, hold: Transfer, kind: str, amount: int, rest: int) -> None:
        balance = self._move(hold.user_id, available=rest, held=-hold.credits)
        if balance is None:
            raise HoldMissing(hold.reference_id)
        self._transfer(
            hold.user_id,
            kind,
            amount,
            balance,
            hold.reference_type,
            hold.reference_id,
            hold.description,
            settles_id=hold.id,
        )

    def _move(self, user_id: str, *, available: int, held: int) -> int | None:
        """Change an account in one conditional statement; None if it does not cover the change."""
        change = {"of_user": user_id, "more_available": available, "more_held": held}
        balance: int | None = self._session.connection().scalar(_MOVE, change)
        return balance

    def _transfer(
        self,
        user_id: str,
        kind: str,
        amount: int,
        balance: int,
        reference_type: str,
        reference_id: str,
        description: str,
        settles_id: int | None = None,
        grant_reference: str | None = None,
    ) -> None:
        transfer = {
            "user_id": user_id,
            "kind": kind,
            "credits": amount,
            "balance": balance,
            "settles_id": settles_id,
            "reference_type": reference_type,
            "reference_id": reference_id,
            "description": description,
            # Named even if there is none: where the column is missing, no trigger would post anything.
            "grant_reference": grant_reference,
        }
        self._session.connection().execute(_TRANSFER, transfer)
