"""The turn and the tier of a generation, and the index that a claim reads. See ADR 30."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

SECONDS = {
    "postgresql": "extract(epoch FROM generations.created_at)",
    "sqlite": "(julianday(generations.created_at) - 2440587.5) * 86400",
}


def upgrade() -> None:
    """Apply this revision. What waits gets its turn by its submission, one step for each before it."""
    op.add_column("generations", sa.Column("tier", sa.String(16), nullable=False, server_default="free"))
    op.add_column("generations", sa.Column("turn", sa.Double(), nullable=False, server_default="0"))
    seconds = SECONDS[op.get_bind().dialect.name]
    op.execute(
        f"UPDATE generations SET tier = (SELECT tier FROM users WHERE users.id = generations.user_id), "  # noqa: S608  # our own
        f"turn = {seconds} + 600.001 * (SELECT count(*) FROM generations AS earlier "
        "WHERE earlier.status = 'pending' AND earlier.user_id = generations.user_id "
        "AND earlier.model_id = generations.model_id AND earlier.created_at < generations.created_at) "
        "WHERE status IN ('pending', 'processing')"
    )
    waits = sa.text("status = 'pending'")
    op.create_index(
        "ix_generations_lanes",
        "generations",
        ["model_id", "failed_over", "tier", "turn", "created_at"],
        sqlite_where=waits,
        postgresql_where=waits,
    )


def downgrade() -> None:
    """Undo this revision. The older program orders what waits by its users' last claims."""
    op.drop_index("ix_generations_lanes", table_name="generations")
    op.drop_column("generations", "turn")
    op.drop_column("generations", "tier")
