"""Small pictures of generations that are being drawn, for those who look. See ADR 40."""

import sqlalchemy as sa
from alembic import op

from server.db.base import UtcDateTime

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "previews",
        sa.Column("generation_id", sa.String(64), nullable=False),
        sa.Column("wanted_until", UtcDateTime(), nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("image", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("generation_id", name=op.f("pk_previews")),
    )
    op.create_index(op.f("ix_previews_wanted_until"), "previews", ["wanted_until"])


def downgrade() -> None:
    """Undo this revision."""
    op.drop_table("previews")
