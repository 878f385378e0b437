"""The entry that a client has chosen before it asks, as clients of A1111 do. See ADR 39."""

import sqlalchemy as sa
from alembic import op

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision. Nobody has chosen any."""
    op.add_column("users", sa.Column("chosen_entry", sa.String(128), nullable=True))


def downgrade() -> None:
    """Undo this revision."""
    op.drop_column("users", "chosen_entry")
