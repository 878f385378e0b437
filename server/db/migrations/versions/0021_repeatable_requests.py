"""Requests of clients that repeat them without an idempotency key. See ADR 39."""

import sqlalchemy as sa
from alembic import op

from server.db.base import UtcDateTime

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "repeatable_requests",
        sa.Column("id", sa.String(64), nullable=False),
        sa.Column("user_id", sa.String(64), nullable=False),
        sa.Column("digest", sa.String(64), nullable=False),
        sa.Column("generation_ids", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("resumed_at", UtcDateTime(), nullable=True),
        sa.Column("answered_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_repeatable_requests_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_repeatable_requests")),
    )
    op.create_index("ix_repeatable_requests_user_id_digest", "repeatable_requests", ["user_id", "digest"])
    op.create_index(op.f("ix_repeatable_requests_created_at"), "repeatable_requests", ["created_at"])


def downgrade() -> None:
    """Undo this revision. What is repeated after it is drawn, and charged, once more."""
    op.drop_table("repeatable_requests")
