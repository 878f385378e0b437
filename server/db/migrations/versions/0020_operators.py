"""Who operates the service, and what workers say of their devices. See ADR 38."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision. Nobody is an operator yet."""
    op.add_column("users", sa.Column("is_operator", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("workers", sa.Column("device", sa.Text(), nullable=True))
    op.add_column("workers", sa.Column("memory_used_bytes", sa.BigInteger(), nullable=True))
    op.add_column("workers", sa.Column("memory_total_bytes", sa.BigInteger(), nullable=True))
    op.add_column("workers", sa.Column("resident", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    """Undo this revision."""
    for column in ("resident", "memory_total_bytes", "memory_used_bytes", "device"):
        op.drop_column("workers", column)
    op.drop_column("users", "is_operator")
