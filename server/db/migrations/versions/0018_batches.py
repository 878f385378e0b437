"""What can be drawn together, and what was claimed so. See ADR 32."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision. What waits already is drawn alone."""
    op.add_column("generations", sa.Column("batch_key", sa.String(32), nullable=False, server_default=""))
    op.add_column(
        "generations", sa.Column("companion", sa.Boolean(), nullable=False, server_default=sa.false())
    )
    waits = sa.text("status = 'pending'")
    op.create_index(
        "ix_generations_batches",
        "generations",
        ["batch_key", "failed_over", "turn", "created_at"],
        sqlite_where=waits,
        postgresql_where=waits,
    )


def downgrade() -> None:
    """Undo this revision."""
    op.drop_index("ix_generations_batches", table_name="generations")
    op.drop_column("generations", "companion")
    op.drop_column("generations", "batch_key")
