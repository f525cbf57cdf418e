"""What retention asks by: age in an archived queue, and the message of an idempotency key."""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

INDEXES = (
    ("ix_message_archive_age", "mod_scaiqueue_message_archive", ["scope_id", "queue", "updated_at"]),
    ("ix_idempotency_message", "mod_scaiqueue_idempotency", ["message_id"]),
)


def upgrade() -> None:
    for name, table, columns in INDEXES:
        op.create_index(name, table, columns)


def downgrade() -> None:
    for name, table, _ in INDEXES:
        op.drop_index(name, table_name=table)
