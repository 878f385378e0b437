"""What an image was really made with, on its generation."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.add_column("generations", sa.Column("making", sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    """Undo this revision."""
    op.drop_column("generations", "making")
