"""Tombstones of users, emails that only one user has, and when keys were used and expire.

Of users that share an email the oldest keeps it.
"""

import sqlalchemy as sa
from alembic import op

from server.db.base import UtcDateTime

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply this revision."""
    op.add_column("users", sa.Column("deleted_at", UtcDateTime(), nullable=True))
    op.execute("UPDATE users SET email = lower(trim(email))")
    op.execute("UPDATE users SET email = NULL WHERE email = ''")
    op.execute(
        "UPDATE users SET email = NULL WHERE EXISTS ("
        "SELECT 1 FROM users AS older WHERE older.email = users.email "
        "AND (older.created_at < users.created_at "
        "OR (older.created_at = users.created_at AND older.id < users.id)))"
    )
    op.create_index(op.f("ix_users_email"), "users", ["email"], unique=True)
    op.add_column("api_keys", sa.Column("last_used_at", UtcDateTime(), nullable=True))
    op.add_column("api_keys", sa.Column("expires_at", UtcDateTime(), nullable=True))


def downgrade() -> None:
    """Undo this revision. Keys with an expiry are revoked: the older program would never end them."""
    op.execute(
        "UPDATE api_keys SET revoked_at = expires_at WHERE revoked_at IS NULL AND expires_at IS NOT NULL"
    )
    op.drop_column("api_keys", "expires_at")
    op.drop_column("api_keys", "last_used_at")
    op.drop_index(op.f("ix_users_email"), table_name="users")
    op.drop_column("users", "deleted_at")
