"""An index for the newest times of an entry."""

from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.create_index("ix_generations_entry", "generations", ["entry_key", "completed_at"])


def downgrade() -> None:
    """Undo this revision."""
    op.drop_index("ix_generations_entry", "generations")
