"""What hosted providers cost, by day."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "spending_days",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("microusd", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("microusd >= 0", name=op.f("ck_spending_days_microusd")),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_spending_days")),
    )


def downgrade() -> None:
    """Undo this revision."""
    op.drop_table("spending_days")
