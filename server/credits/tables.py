"""The tables of credits. Their constraints and triggers hold what nobody may break: see ADR 19."""

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from server.clock import now
from server.db.base import APPEND_ONLY, Serial, Table


class Account(Table):
    """A user's credits: what can be spent and what is reserved. Both follow from the ledger."""

    __tablename__ = "accounts"
    __table_args__ = (
        CheckConstraint("available >= 0", name="available"),
        CheckConstraint("held >= 0", name="held"),
        # Those who have something held are as many as generations wait, however many users there are.
        Index("ix_accounts_held", "held", sqlite_where=text("held > 0"), postgresql_where=text("held > 0")),
    )

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), primary_key=True)
    available: Mapped[int] = mapped_column(BigInteger)
    held: Mapped[int] = mapped_column(BigInteger)


class Transfer(Table):
    """One movement of credits. Append-only: a trigger refuses every change."""

    __tablename__ = "ledger_transfers"
    __table_args__ = (
        CheckConstraint("kind IN ('grant', 'hold', 'capture', 'void')", name="kind"),
        CheckConstraint("(kind IN ('capture', 'void')) = (settles_id IS NOT NULL)", name="settles"),
        Index(
            "uq_ledger_transfers_one_hold",
            "reference_id",
            unique=True,
            sqlite_where=text("kind = 'hold'"),
            postgresql_where=text("kind = 'hold'"),
        ),
        Index(
            "uq_ledger_transfers_grant_reference",
            "grant_reference",
            unique=True,
            sqlite_where=text("grant_reference IS NOT NULL"),
            postgresql_where=text("grant_reference IS NOT NULL"),
        ),
        Index("ix_ledger_transfers_history", "user_id", "id"),
        APPEND_ONLY,
    )

    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"))
    kind: Mapped[str] = mapped_column(String(16))
    credits: Mapped[int] = mapped_column(BigInteger)
    """What was granted, held, captured or given back."""
    balance: Mapped[int] = mapped_column(BigInteger)
    """The user's available credits after this transfer."""
    settles_id: Mapped[int | None] = mapped_column(ForeignKey("ledger_transfers.id"), unique=True)
    """The hold that this ends. Unique, so a hold ends once."""
    reference_type: Mapped[str]
    reference_id: Mapped[str]
    description: Mapped[str] = mapped_column(String(300))
    grant_reference: Mapped[str | None] = mapped_column(String(128))
    """What its giver calls a grant. Unique, so a grant is made once. None before revision 0012."""
    created_at: Mapped[datetime] = mapped_column(default=now)


class Posting(Table):
    """One side of a transfer, which a trigger inserts. Those of each transfer sum to zero. Append-only."""

    __tablename__ = "ledger_postings"
    __table_args__ = (
        CheckConstraint("account IN ('available', 'held', 'revenue', 'issuance')", name="account"),
        APPEND_ONLY,
    )

    id: Mapped[int] = mapped_column(Serial, primary_key=True)
    transfer_id: Mapped[int] = mapped_column(ForeignKey("ledger_transfers.id"), index=True)
    user_id: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    account: Mapped[str] = mapped_column(String(16))
    amount: Mapped[int] = mapped_column(BigInteger)


class LedgerAudit(Table):
    """How far the comparison of all accounts with their postings has come. One row."""

    __tablename__ = "ledger_audit"
    __table_args__ = (CheckConstraint("id = 1", name="one_row"),)

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    position: Mapped[str]
    """The last user whose account this audit has compared; empty if none is under way."""
    drifting: Mapped[int]
    """The accounts that drift, of those compared by this audit."""
    postings_sum: Mapped[int] = mapped_column(BigInteger)
    """The sum of their postings in credits."""
    ended_at: Mapped[datetime | None]
    """When the last audit ended; None before the first."""
    ended_drifting: Mapped[int]
    ended_postings_sum: Mapped[int] = mapped_column(BigInteger)
