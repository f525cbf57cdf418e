"""Subscriptions of broadcast queues, and whose bodies their copies have."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0056"
down_revision = "0055"
branch_labels = None
depends_on = None

OPTIONS: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}
JSON = sa.Text().with_variant(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")


def _ascii(length: int) -> sa.String:
    exact = mysql.VARCHAR(length, charset="ascii", collation="ascii_bin")
    return sa.String(length).with_variant(exact, "mysql", "mariadb")


def upgrade() -> None:
    op.create_table(
        "mod_scaiqueue_subscriptions",
        sa.Column("id", _ascii(36), nullable=False),
        sa.Column("tenant_id", _ascii(63), nullable=False),
        sa.Column("scope_id", _ascii(36), nullable=False),
        sa.Column("queue", _ascii(63), nullable=False),
        sa.Column("name", _ascii(63), nullable=False),
        sa.Column("slug", _ascii(63), nullable=False),
        sa.Column("filter", JSON, nullable=False),
        sa.Column("start", sa.String(16), nullable=False),
        sa.Column("delivery", sa.String(16), nullable=False),
        sa.Column("dedup_window_s", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("fill_before", sa.BigInteger(), nullable=False),
        sa.Column("filled_to", _ascii(36), nullable=False),
        sa.Column("filled", sa.BigInteger(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("scope_id", "queue", "name", name="uq_scaiqueue_subscription_name"),
        **OPTIONS,
    )
    op.create_index("ix_subscriptions_state", "mod_scaiqueue_subscriptions", ["state", "updated_at"])
    op.create_table(
        "mod_scaiqueue_copies",
        sa.Column("message_id", _ascii(36), nullable=False),
        sa.Column("parent_id", _ascii(36), nullable=False),
        sa.PrimaryKeyConstraint("message_id"),
        **OPTIONS,
    )
    op.create_index("ix_copies_parent", "mod_scaiqueue_copies", ["parent_id"])


def downgrade() -> None:
    op.drop_table("mod_scaiqueue_copies")
    op.drop_table("mod_scaiqueue_subscriptions")
