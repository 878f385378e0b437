"""Names of the field for columns and a table; an avatar's name gets a column of its own."""

import sqlalchemy as sa
from alembic import op

from server.db.base import UtcDateTime

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

COLUMNS = (
    ("generations", "recipe", "image_order"),
    ("generations", "draft", "traits"),
    ("generations", "making", "provenance"),
    ("generations", "passed_on", "failed_over"),
    ("workers", "seconds_each", "mean_duration_s"),
    ("workers", "trouble", "last_error"),
)


def upgrade() -> None:
    """Apply this revision."""
    for table, old, new in COLUMNS:
        _rename_column(table, old, new)
    op.add_column("generations", sa.Column("avatar_name", sa.String(100), nullable=False, server_default=""))
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "UPDATE generations SET avatar_name = traits ->> 'name', traits = (traits::jsonb - 'name')::json"
        )
    else:
        op.execute(
            "UPDATE generations SET avatar_name = json_extract(traits, '$.name'), "
            "traits = json_remove(traits, '$.name')"
        )
    _rename_locks("turns", "leader_locks")


def downgrade() -> None:
    """Undo this revision."""
    _rename_locks("leader_locks", "turns")
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "UPDATE generations SET traits = (traits::jsonb || jsonb_build_object('name', avatar_name))::json"
        )
    else:
        op.execute("UPDATE generations SET traits = json_set(traits, '$.name', avatar_name)")
    op.drop_column("generations", "avatar_name")
    for table, old, new in reversed(COLUMNS):
        _rename_column(table, new, old)


def _rename_column(table: str, old: str, new: str) -> None:
    op.execute(f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}")


def _rename_locks(old: str, new: str) -> None:
    """Make the table anew: a renamed one would keep the name of its primary key."""
    op.create_table(
        new,
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("holder", sa.String(64), nullable=False),
        sa.Column("until", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f(f"pk_{new}")),
    )
    op.execute(f"INSERT INTO {new} (name, holder, until) SELECT name, holder, until FROM {old}")  # noqa: S608  # our own names
    op.drop_table(old)
