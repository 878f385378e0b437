"""Sums that are read without the history: credits moved, credits held, and an audit in parts. See ADR 26.

A trigger counts each transfer, so that what the last release or an operator inserts is counted as well.
"""

from datetime import UTC, datetime

import sqlalchemy as sa
from alembic import op

from server.db.base import UtcDateTime

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

COUNT = """
    INSERT INTO uncounted (kind, entry, part, value) VALUES ('moved', '', NEW.kind, NEW.credits)
"""
COUNTED = """
    INSERT INTO tallies (kind, entry, part, value)
    SELECT 'moved', '', kind, CAST(sum(credits) AS BIGINT) FROM ledger_transfers
    GROUP BY kind HAVING sum(credits) <> 0
"""
MOVES = "NEW.credits <> 0"


def upgrade() -> None:
    """Apply this revision. The ledger is added up once."""
    if _on_postgresql():
        # Nothing is transferred between the sum and the trigger. In the order in which the program's
        # transactions come to them: so there is no deadlock.
        op.execute("LOCK TABLE accounts, ledger_transfers IN SHARE ROW EXCLUSIVE MODE")
    op.execute(COUNTED)
    if _on_postgresql():
        op.execute(
            "CREATE FUNCTION count_transfer() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN {COUNT}; RETURN NULL; END $$"
        )
        op.execute(
            "CREATE TRIGGER ledger_transfers_count AFTER INSERT ON ledger_transfers "
            f"FOR EACH ROW WHEN ({MOVES}) EXECUTE FUNCTION count_transfer()"
        )
    else:
        op.execute(
            "CREATE TRIGGER ledger_transfers_count AFTER INSERT ON ledger_transfers "
            f"WHEN {MOVES} BEGIN {COUNT}; END"
        )
    holding = sa.text("held > 0")
    op.create_index("ix_accounts_held", "accounts", ["held"], sqlite_where=holding, postgresql_where=holding)
    audit = op.create_table(
        "ledger_audit",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("position", sa.String(64), nullable=False),
        sa.Column("drifting", sa.Integer(), nullable=False),
        sa.Column("postings_sum", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("ended_drifting", sa.Integer(), nullable=False),
        sa.Column("ended_postings_sum", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_ledger_audit_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_audit")),
    )
    none = {"position": "", "drifting": 0, "postings_sum": 0, "ended_drifting": 0, "ended_postings_sum": 0}
    op.bulk_insert(audit, [{"id": 1} | none])
    until = sa.column("until", UtcDateTime())
    locks = sa.table("leader_locks", sa.column("name"), sa.column("holder"), until)
    op.bulk_insert(locks, [{"name": "audit", "holder": "", "until": datetime(2000, 1, 1, tzinfo=UTC)}])


def downgrade() -> None:
    """Undo this revision."""
    op.execute("DELETE FROM leader_locks WHERE name = 'audit'")
    op.drop_table("ledger_audit")
    op.drop_index("ix_accounts_held", "accounts")
    if _on_postgresql():
        op.execute("DROP TRIGGER ledger_transfers_count ON ledger_transfers")
        op.execute("DROP FUNCTION count_transfer()")
    else:
        op.execute("DROP TRIGGER ledger_transfers_count")
    op.execute("DELETE FROM uncounted WHERE kind = 'moved'")
    op.execute("DELETE FROM tallies WHERE kind = 'moved'")


def _on_postgresql() -> bool:
    return bool(op.get_bind().dialect.name == "postgresql")
