"""The ledger enforced by triggers, and the references of grants. See ADR 19.

A trigger inserts a transfer's postings with the transfer, from which they follow: so they balance at every
moment, also on a database without deferred triggers. The last release inserts them as well: that is ignored.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

LEDGER = ("ledger_transfers", "ledger_postings")

# The postings that each transfer asks for. One that moves nothing asks for a zero, so that it has a posting.
SIDES = """
    CREATE VIEW ledger_sides AS
    SELECT transfer_id, user_id, account, amount FROM (
        SELECT
            transfer.id AS transfer_id, transfer.user_id, account.name AS account,
            CASE transfer.kind || ' ' || account.name
                WHEN 'grant available' THEN transfer.credits
                WHEN 'grant issuance' THEN -transfer.credits
                WHEN 'hold available' THEN -transfer.credits
                WHEN 'hold held' THEN transfer.credits
                WHEN 'capture available' THEN hold.credits - transfer.credits
                WHEN 'capture held' THEN -hold.credits
                WHEN 'capture revenue' THEN transfer.credits
                WHEN 'void available' THEN hold.credits
                WHEN 'void held' THEN -hold.credits
                ELSE 0
            END AS amount,
            coalesce(hold.credits, transfer.credits) AS moved
        FROM ledger_transfers AS transfer
        LEFT JOIN ledger_transfers AS hold ON hold.id = transfer.settles_id
        CROSS JOIN (
            SELECT 'available' AS name
            UNION ALL SELECT 'held' UNION ALL SELECT 'revenue' UNION ALL SELECT 'issuance'
        ) AS account
    ) AS side
    WHERE amount <> 0 OR (account = 'held' AND moved = 0)
"""
POST = """
    INSERT INTO ledger_postings (transfer_id, user_id, account, amount)
    SELECT transfer_id, user_id, account, amount FROM ledger_sides WHERE transfer_id = NEW.id
"""
FITS = """
    NEW.settles_id IS NULL OR EXISTS (
        SELECT 1 FROM ledger_transfers AS hold
        WHERE hold.id = NEW.settles_id AND hold.kind = 'hold' AND hold.user_id = NEW.user_id
        AND hold.reference_type = NEW.reference_type AND hold.reference_id = NEW.reference_id
        AND (hold.credits = NEW.credits OR (NEW.kind = 'capture' AND NEW.credits < hold.credits))
    )
"""
ASKED_FOR = """
    EXISTS (
        SELECT 1 FROM ledger_sides AS side
        WHERE side.transfer_id = NEW.transfer_id AND side.user_id = NEW.user_id
        AND side.account = NEW.account AND side.amount = NEW.amount
    )
"""
POSTED = """
    EXISTS (
        SELECT 1 FROM ledger_postings AS posting
        WHERE posting.transfer_id = NEW.transfer_id AND posting.account = NEW.account
    )
"""
HOLDS = """
    EXISTS (
        SELECT 1 FROM ledger_transfers AS hold
        WHERE hold.kind = 'hold' AND hold.reference_id = OLD.id
        AND NOT EXISTS (SELECT 1 FROM ledger_transfers AS settled WHERE settled.settles_id = hold.id)
    )
"""
# A key that is there already. The shell of SQLite fires no trigger for the row that a REPLACE deletes.
TAKEN_TRANSFER = """
    EXISTS (SELECT 1 FROM ledger_transfers WHERE id = NEW.id)
    OR EXISTS (SELECT 1 FROM ledger_transfers WHERE settles_id = NEW.settles_id)
    OR EXISTS (SELECT 1 FROM ledger_transfers WHERE grant_reference = NEW.grant_reference)
    OR NEW.kind = 'hold'
    AND EXISTS (SELECT 1 FROM ledger_transfers WHERE kind = 'hold' AND reference_id = NEW.reference_id)
"""
TAKEN_POSTING = "EXISTS (SELECT 1 FROM ledger_postings WHERE id = NEW.id)"

WHOLE = "the credits of a transfer are a whole number, at least 0"
SETTLES = "a capture or void settles a hold of its own user and reference, of no less credits"
FOLLOWS = "a posting follows from its transfer"
HELD = "a generation that holds credits neither ends nor goes"

POSTGRESQL_FUNCTIONS = {
    "post_transfer": f"""
        IF NEW.credits < 0 THEN {{refuse}} '{WHOLE}'; END IF;
        IF NOT ({FITS}) THEN {{refuse}} '{SETTLES}'; END IF;
        {POST};
        RETURN NULL;
    """,
    "check_posting": f"""
        IF NOT {ASKED_FOR} THEN {{refuse}} '{FOLLOWS}'; END IF;
        IF {POSTED} THEN RETURN NULL; END IF;
        RETURN NEW;
    """,
    "keep_holder": f"IF {HOLDS} THEN {{refuse}} '{HELD}'; END IF; RETURN OLD;",
    "refuse_loss": "{refuse} format('%s of %s refused: credits depend on it', TG_OP, TG_TABLE_NAME);",
}
POSTGRESQL_TRIGGERS = (
    "TRIGGER ledger_transfers_post AFTER INSERT ON ledger_transfers FOR EACH ROW {run} post_transfer()",
    "TRIGGER ledger_postings_check BEFORE INSERT ON ledger_postings FOR EACH ROW {run} check_posting()",
    *(f"TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} {{run}} refuse_change()" for table in LEDGER),
    "TRIGGER generations_no_delete BEFORE DELETE ON generations FOR EACH ROW {run} keep_holder()",
    "TRIGGER generations_no_rename BEFORE UPDATE OF id ON generations FOR EACH ROW {run} refuse_loss()",
    "TRIGGER generations_no_truncate BEFORE TRUNCATE ON generations {run} refuse_loss()",
    """
        CONSTRAINT TRIGGER generations_end AFTER UPDATE OF status ON generations
        DEFERRABLE INITIALLY DEFERRED FOR EACH ROW WHEN (NEW.status IN ('completed', 'failed'))
        {run} keep_holder()
    """,
    "TRIGGER accounts_no_delete BEFORE DELETE OR TRUNCATE ON accounts {run} refuse_loss()",
)

# SQLite has no deferred triggers: there a generation may end before its hold does, in the same transaction.
SQLITE_TRIGGERS = {
    "ledger_transfers_no_replace": f"""
        BEFORE INSERT ON ledger_transfers WHEN {TAKEN_TRANSFER}
        BEGIN SELECT RAISE(ABORT, 'append-only: another transfer has this key'); END
    """,
    "ledger_transfers_post": f"""
        AFTER INSERT ON ledger_transfers BEGIN
            SELECT RAISE(ABORT, 'append-only: the first transfer has the id 1') WHERE NEW.id < 1;
            SELECT RAISE(ABORT, '{WHOLE}') WHERE NEW.credits < 0 OR typeof(NEW.credits) <> 'integer';
            SELECT RAISE(ABORT, '{SETTLES}') WHERE NOT ({FITS});
            {POST};
        END
    """,
    "ledger_postings_check": f"""
        BEFORE INSERT ON ledger_postings BEGIN
            SELECT RAISE(ABORT, 'append-only: another posting has this key') WHERE {TAKEN_POSTING};
            SELECT RAISE(ABORT, '{FOLLOWS}') WHERE NOT {ASKED_FOR};
            SELECT RAISE(IGNORE) WHERE {POSTED};
        END
    """,
    "generations_no_delete": f"""
        BEFORE DELETE ON generations WHEN {HOLDS} BEGIN SELECT RAISE(ABORT, '{HELD}'); END
    """,
    "generations_no_replace": f"""
        BEFORE INSERT ON generations WHEN {HOLDS.replace("OLD", "NEW")}
        BEGIN SELECT RAISE(ABORT, '{HELD}'); END
    """,
    "generations_no_rename": """
        BEFORE UPDATE OF id ON generations
        BEGIN SELECT RAISE(ABORT, 'UPDATE of generations refused: credits depend on it'); END
    """,
    "accounts_no_delete": """
        BEFORE DELETE ON accounts
        BEGIN SELECT RAISE(ABORT, 'DELETE of accounts refused: credits depend on it'); END
    """,
}


def upgrade() -> None:
    """Apply this revision."""
    if _on_postgresql():
        # In the order in which the program's transactions come to them: so there is no deadlock.
        op.execute("LOCK TABLE generations, accounts IN SHARE ROW EXCLUSIVE MODE")
        op.execute("LOCK TABLE ledger_transfers IN ACCESS EXCLUSIVE MODE")
    op.add_column("ledger_transfers", sa.Column("grant_reference", sa.String(128), nullable=True))
    named = sa.text("grant_reference IS NOT NULL")
    op.create_index(
        "uq_ledger_transfers_grant_reference",
        "ledger_transfers",
        ["grant_reference"],
        unique=True,
        sqlite_where=named,
        postgresql_where=named,
    )
    op.execute(SIDES)
    if not _on_postgresql():
        for name, body in SQLITE_TRIGGERS.items():
            op.execute(f"CREATE TRIGGER {name} {body}")
        return
    raising = "RAISE EXCEPTION USING ERRCODE = 'integrity_constraint_violation', MESSAGE ="
    for name, body in POSTGRESQL_FUNCTIONS.items():
        op.execute(
            f"CREATE FUNCTION {name}() RETURNS trigger LANGUAGE plpgsql AS "
            f"$$ BEGIN {body.format(refuse=raising)} END $$"
        )
    for trigger in POSTGRESQL_TRIGGERS:
        op.execute(f"CREATE {trigger.format(run='EXECUTE FUNCTION')}")


def downgrade() -> None:
    """Undo this revision. The references of grants are lost."""
    if _on_postgresql():
        for table in LEDGER:
            op.execute(f"DROP TRIGGER {table}_no_truncate ON {table}")
        for name in POSTGRESQL_FUNCTIONS:
            op.execute(f"DROP FUNCTION {name}() CASCADE")  # with the triggers that call it
    else:
        for name in SQLITE_TRIGGERS:
            op.execute(f"DROP TRIGGER {name}")
    op.execute("DROP VIEW ledger_sides")
    op.drop_index("uq_ledger_transfers_grant_reference", "ledger_transfers")
    op.drop_column("ledger_transfers", "grant_reference")


def _on_postgresql() -> bool:
    return bool(op.get_bind().dialect.name == "postgresql")
