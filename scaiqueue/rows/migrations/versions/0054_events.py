"""What events are told from beside the journal, and webhooks."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0054"
down_revision = "0053"
branch_labels = None
depends_on = None

OPTIONS: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}
JSON = sa.Text().with_variant(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")


def _ascii(name: str, length: int) -> sa.Column[str]:
    exact = mysql.VARCHAR(length, charset="ascii", collation="ascii_bin")
    return sa.Column(name, sa.String(length).with_variant(exact, "mysql", "mariadb"), nullable=False)


def _whole(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.Integer(), nullable=False) for name in names]


def _long(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=False) for name in names]


def upgrade() -> None:
    op.create_table(
        "mod_scaiqueue_event_addenda",
        *_whole("shard"),
        *_long("epoch", "n"),
        *_whole("place"),
        sa.Column("origin", sa.String(64), nullable=False),
        _ascii("tenant_id", 63),
        _ascii("scope_id", 36),
        sa.Column("op", sa.String(32), nullable=False),
        _ascii("queue", 63),
        *_long("at"),
        sa.Column("transitions", JSON, nullable=False),
        sa.Column("detail", JSON, nullable=False),
        sa.PrimaryKeyConstraint("shard", "epoch", "n", "place"),
        **OPTIONS,
    )
    op.create_index(
        "ix_event_addenda_scope", "mod_scaiqueue_event_addenda", ["scope_id", "epoch", "n", "place"]
    )
    op.create_table(
        "mod_scaiqueue_event_horizons",
        sa.Column("shard", sa.Integer(), autoincrement=False, nullable=False),
        *_long("epoch", "n"),
        sa.PrimaryKeyConstraint("shard"),
        **OPTIONS,
    )
    op.create_table(
        "mod_scaiqueue_webhooks",
        _ascii("id", 36),
        _ascii("tenant_id", 63),
        _ascii("scope_id", 36),
        _ascii("queue", 63),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", JSON, nullable=False),
        sa.Column("secret", sa.String(256), nullable=False),
        *_whole("max_retries"),
        sa.Column("description", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("disabled_reason", sa.Text(), nullable=False),
        *_long("failing_since"),
        sa.Column("lease_owner", sa.String(64), nullable=False),
        *_long("lease_until", "created_at", "updated_at"),
        sa.PrimaryKeyConstraint("id"),
        **OPTIONS,
    )
    op.create_index("ix_webhooks_tenant", "mod_scaiqueue_webhooks", ["tenant_id", "id"])
    op.create_table(
        "mod_scaiqueue_webhook_positions",
        _ascii("webhook_id", 36),
        *_whole("shard"),
        *_long("epoch", "n"),
        *_whole("place", "part"),
        sa.PrimaryKeyConstraint("webhook_id", "shard"),
        **OPTIONS,
    )
    op.create_table(
        "mod_scaiqueue_webhook_deliveries",
        _ascii("id", 36),
        _ascii("webhook_id", 36),
        _ascii("tenant_id", 63),
        _ascii("scope_id", 36),
        _ascii("event_id", 36),
        sa.Column("event_type", sa.String(64), nullable=False),
        _ascii("subject", 36),
        *_whole("shard"),
        *_long("epoch", "n"),
        *_whole("place", "part"),
        sa.Column("state", sa.String(16), nullable=False),
        *_whole("attempts"),
        *_long("next_at"),
        *_whole("status_code"),
        sa.Column("error", sa.Text(), nullable=False),
        *_whole("duration_ms"),
        _ascii("replay_of", 36),
        *_long("created_at", "updated_at"),
        sa.PrimaryKeyConstraint("id"),
        **OPTIONS,
    )
    for name, columns in (
        ("webhook", ["webhook_id", "id"]),
        ("state", ["webhook_id", "state", "id"]),
        ("age", ["created_at"]),
    ):
        op.create_index(f"ix_webhook_deliveries_{name}", "mod_scaiqueue_webhook_deliveries", columns)


def downgrade() -> None:
    for table in ("webhook_deliveries", "webhook_positions", "webhooks", "event_horizons", "event_addenda"):
        op.drop_table(f"mod_scaiqueue_{table}")
