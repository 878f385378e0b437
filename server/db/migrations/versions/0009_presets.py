"""How often each preset was used, and where a generation's prompt comes from."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "preset_uses",
        sa.Column("preset_id", sa.String(64), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("preset_id", name=op.f("pk_preset_uses")),
    )
    op.add_column(
        "generations",
        sa.Column("source_type", sa.String(32), nullable=False, server_default="text_to_image"),
    )


def downgrade() -> None:
    """Undo this revision."""
    op.drop_column("generations", "source_type")
    op.drop_table("preset_uses")
