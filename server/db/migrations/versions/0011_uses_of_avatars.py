"""The uses of avatars, and an index by which a user's avatars are listed."""

import sqlalchemy as sa
from alembic import op

from server.db.base import UtcDateTime

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.create_table(
        "avatar_uses",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("avatar_id", sa.String(64), nullable=False),
        sa.Column("app_id", sa.String(64), nullable=False),
        sa.Column("app_name", sa.String(100), nullable=False),
        sa.Column("action", sa.String(64), nullable=False),
        sa.Column("reference_id", sa.String(100), nullable=True),
        sa.Column("reference_type", sa.String(64), nullable=True),
        sa.Column("metadata", sa.Text(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["avatar_id"], ["avatars.id"], name=op.f("fk_avatar_uses_avatar_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_avatar_uses")),
    )
    op.create_index("ix_avatar_uses_avatar", "avatar_uses", ["avatar_id", "id"])
    op.create_index("ix_avatars_owner", "avatars", ["user_id", "created_at"])
    op.drop_index(op.f("ix_avatars_user_id"), "avatars")


def downgrade() -> None:
    """Undo this revision."""
    op.create_index(op.f("ix_avatars_user_id"), "avatars", ["user_id"])
    op.drop_index("ix_avatars_owner", "avatars")
    op.drop_table("avatar_uses")
