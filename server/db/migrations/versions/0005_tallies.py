"""What is counted as it happens. It begins at zero: the generations that ended before are not counted."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "tallies",
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("entry", sa.String(128), nullable=False),
        sa.Column("part", sa.String(64), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "entry", "part", name=op.f("pk_tallies")),
    )


def downgrade() -> None:
    """Undo this revision."""
    op.drop_table("tallies")
