"""Fewer indexes that every transition changes: recovery reads by the events and by the index of states."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

MESSAGES, ARCHIVE = "mod_scaiqueue_messages", "mod_scaiqueue_message_archive"
INDEXES = (
    ("ix_messages_age", MESSAGES, ["state", "updated_at"]),
    ("ix_messages_touched", MESSAGES, ["shard", "touched_epoch", "touched_n"]),
    ("ix_message_archive_touched", ARCHIVE, ["shard", "touched_epoch", "touched_n"]),
)


def upgrade() -> None:
    for name, table, _ in INDEXES:
        op.drop_index(name, table_name=table)


def downgrade() -> None:
    for name, table, columns in INDEXES:
        op.create_index(name, table, columns)
