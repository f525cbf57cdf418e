"""The first tables."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

OPTIONS: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}


def _text(length: int, charset: str = "utf8mb4") -> sa.String:
    exact = mysql.VARCHAR(length, charset=charset, collation=f"{charset}_bin")
    return sa.String(length).with_variant(exact, "mysql", "mariadb")


UUID = _text(36, "ascii")
SLUG = _text(63, "ascii")
HASH = _text(64, "ascii")
NAME = _text(256)
ACTOR = _text(320)
JSON = sa.Text().with_variant(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")
BODY = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

TABLES = (
    "mod_scaiqueue_tenants",
    "mod_scaiqueue_system_agents",
    "mod_scaiqueue_scopes",
    "mod_scaiqueue_queues",
    "mod_scaiqueue_quarantine",
    "mod_scaiqueue_messages",
    "mod_scaiqueue_message_archive",
    "mod_scaiqueue_journal_positions",
    "mod_scaiqueue_jobs",
    "mod_scaiqueue_installation",
    "mod_scaiqueue_idempotency",
    "mod_scaiqueue_events",
    "mod_scaiqueue_api_keys",
)


def upgrade() -> None:
    op.create_table(
        "mod_scaiqueue_api_keys",
        sa.Column("id", UUID, nullable=False),
        sa.Column("tenant_id", SLUG, nullable=False),
        sa.Column("name", NAME, nullable=False),
        sa.Column("key_hash", HASH, nullable=False),
        sa.Column("prefix", sa.String(16), nullable=False),
        sa.Column("permissions", JSON, nullable=False),
        sa.Column("scopes", JSON, nullable=False),
        sa.Column("queues", JSON, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("revoked_at", sa.BigInteger(), nullable=False),
        sa.Column("last_used_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("key_hash", name="uq_scaiqueue_key_hash"),
        **OPTIONS,
    )
    op.create_index("ix_api_keys_tenant", "mod_scaiqueue_api_keys", ["tenant_id", "id"])
    op.create_table(
        "mod_scaiqueue_events",
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("tenant_id", SLUG, nullable=False),
        sa.Column("scope_id", UUID, nullable=False),
        sa.Column("op", sa.String(32), nullable=False),
        sa.Column("queue", SLUG, nullable=False),
        sa.Column("actor", ACTOR, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("transitions", JSON, nullable=False),
        sa.Column("detail", JSON, nullable=False),
        sa.PrimaryKeyConstraint("shard", "epoch", "n"),
        **OPTIONS,
    )
    op.create_index("ix_events_scope", "mod_scaiqueue_events", ["scope_id", "epoch", "n"])
    op.create_table(
        "mod_scaiqueue_idempotency",
        sa.Column("scope_id", UUID, nullable=False),
        sa.Column("queue", SLUG, nullable=False),
        sa.Column("key_hash", HASH, nullable=False),
        sa.Column("message_id", UUID, nullable=False),
        sa.Column("digest", HASH, nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("scope_id", "queue", "key_hash"),
        **OPTIONS,
    )
    op.create_index("ix_idempotency_expires", "mod_scaiqueue_idempotency", ["expires_at"])
    op.create_table(
        "mod_scaiqueue_installation",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        **OPTIONS,
    )
    op.create_table(
        "mod_scaiqueue_jobs",
        sa.Column("id", UUID, nullable=False),
        sa.Column("tenant_id", SLUG, nullable=False),
        sa.Column("scope_id", UUID, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("parameters", JSON, nullable=False),
        sa.Column("progress", JSON, nullable=False),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("actor", ACTOR, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        **OPTIONS,
    )
    op.create_index("ix_jobs_scope", "mod_scaiqueue_jobs", ["scope_id", "id"])
    op.create_table(
        "mod_scaiqueue_journal_positions",
        sa.Column("shard", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("published", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("shard"),
        **OPTIONS,
    )
    op.create_table(
        "mod_scaiqueue_message_archive",
        sa.Column("id", UUID, nullable=False),
        sa.Column("tenant_id", SLUG, nullable=False),
        sa.Column("scope_id", UUID, nullable=False),
        sa.Column("queue", SLUG, nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("priority_rank", sa.Integer(), nullable=False),
        sa.Column("deadline", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("max_retries", sa.Integer(), nullable=False),
        sa.Column("message_type", NAME, nullable=False),
        sa.Column("correlation_id", NAME, nullable=False),
        sa.Column("source_id", NAME, nullable=False),
        sa.Column("header", JSON, nullable=False),
        sa.Column("overlay", JSON, nullable=False),
        sa.Column("body", BODY, nullable=False),
        sa.Column("flags", sa.Integer(), nullable=False),
        sa.Column("token", sa.String(40), nullable=False),
        sa.Column("holder", ACTOR, nullable=False),
        sa.Column("verb", sa.String(16), nullable=False),
        sa.Column("response", BODY, nullable=False),
        sa.Column("failure_reason", JSON, nullable=False),
        sa.Column("origin", JSON, nullable=False),
        sa.Column("history", JSON, nullable=False),
        sa.Column("history_count", sa.Integer(), nullable=False),
        sa.Column("history_skipped", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("touched_epoch", sa.BigInteger(), nullable=False),
        sa.Column("touched_n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        **OPTIONS,
    )
    op.create_index(
        "ix_message_archive_correlation", "mod_scaiqueue_message_archive", ["scope_id", "correlation_id"]
    )
    op.create_index("ix_message_archive_scope", "mod_scaiqueue_message_archive", ["scope_id", "id"])
    op.create_index(
        "ix_message_archive_touched", "mod_scaiqueue_message_archive", ["shard", "touched_epoch", "touched_n"]
    )
    op.create_table(
        "mod_scaiqueue_messages",
        sa.Column("id", UUID, nullable=False),
        sa.Column("tenant_id", SLUG, nullable=False),
        sa.Column("scope_id", UUID, nullable=False),
        sa.Column("queue", SLUG, nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("priority_rank", sa.Integer(), nullable=False),
        sa.Column("deadline", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("max_retries", sa.Integer(), nullable=False),
        sa.Column("message_type", NAME, nullable=False),
        sa.Column("correlation_id", NAME, nullable=False),
        sa.Column("source_id", NAME, nullable=False),
        sa.Column("header", JSON, nullable=False),
        sa.Column("overlay", JSON, nullable=False),
        sa.Column("body", BODY, nullable=False),
        sa.Column("flags", sa.Integer(), nullable=False),
        sa.Column("token", sa.String(40), nullable=False),
        sa.Column("holder", ACTOR, nullable=False),
        sa.Column("verb", sa.String(16), nullable=False),
        sa.Column("response", BODY, nullable=False),
        sa.Column("failure_reason", JSON, nullable=False),
        sa.Column("origin", JSON, nullable=False),
        sa.Column("history", JSON, nullable=False),
        sa.Column("history_count", sa.Integer(), nullable=False),
        sa.Column("history_skipped", sa.Integer(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("touched_epoch", sa.BigInteger(), nullable=False),
        sa.Column("touched_n", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        **OPTIONS,
    )
    op.create_index("ix_messages_age", "mod_scaiqueue_messages", ["state", "updated_at"])
    op.create_index("ix_messages_correlation", "mod_scaiqueue_messages", ["scope_id", "correlation_id"])
    op.create_index("ix_messages_scope", "mod_scaiqueue_messages", ["scope_id", "id"])
    op.create_index("ix_messages_state", "mod_scaiqueue_messages", ["scope_id", "queue", "state", "id"])
    op.create_index("ix_messages_touched", "mod_scaiqueue_messages", ["shard", "touched_epoch", "touched_n"])
    op.create_table(
        "mod_scaiqueue_quarantine",
        sa.Column("id", SERIAL, autoincrement=True, nullable=False),
        sa.Column("scope_id", UUID, nullable=False),
        sa.Column("message_id", UUID, nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("n", sa.BigInteger(), nullable=False),
        sa.Column("record", BODY, nullable=False),
        sa.Column("envelope", BODY, nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        **OPTIONS,
    )
    op.create_table(
        "mod_scaiqueue_queues",
        sa.Column("id", UUID, nullable=False),
        sa.Column("tenant_id", SLUG, nullable=False),
        sa.Column("scope_id", UUID, nullable=False),
        sa.Column("slug", SLUG, nullable=False),
        sa.Column("display_name", NAME, nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("settings", JSON, nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("scope_id", "slug", name="uq_scaiqueue_queue_slug"),
        **OPTIONS,
    )
    op.create_table(
        "mod_scaiqueue_scopes",
        sa.Column("id", UUID, nullable=False),
        sa.Column("tenant_id", SLUG, nullable=False),
        sa.Column("slug", SLUG, nullable=False),
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("display_name", NAME, nullable=False),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("durability", sa.String(16), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("tenant_id", "slug", name="uq_scaiqueue_scope_slug"),
        **OPTIONS,
    )
    op.create_table(
        "mod_scaiqueue_system_agents",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("schedule", sa.String(64), nullable=False),
        sa.Column("last_run_at", sa.BigInteger(), nullable=False),
        sa.Column("last_duration_ms", sa.Integer(), nullable=False),
        sa.Column("last_result", JSON, nullable=False),
        sa.Column("runs", sa.BigInteger(), nullable=False),
        sa.Column("errors", sa.BigInteger(), nullable=False),
        sa.Column("next_run_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name"),
        **OPTIONS,
    )
    op.create_table(
        "mod_scaiqueue_tenants",
        sa.Column("slug", SLUG, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("slug"),
        **OPTIONS,
    )
    # ### end Alembic commands ###


def downgrade() -> None:
    for name in TABLES:
        op.drop_table(name)
