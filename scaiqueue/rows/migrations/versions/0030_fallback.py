"""The mode row, and what the rows need while Redis is away."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0030"
down_revision = "0020"
branch_labels = None
depends_on = None

OPTIONS: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}
TABLES = (
    "mode", "left_positions", "fallback_members", "fallback_queues", "fallback_scopes", "fallback_claims",
)  # fmt: skip


def _ascii(name: str, length: int) -> sa.Column[str]:
    exact = mysql.VARCHAR(length, charset="ascii", collation="ascii_bin")
    return sa.Column(name, sa.String(length).with_variant(exact, "mysql", "mariadb"), nullable=False)


def _big(*names: str) -> list[sa.Column[int]]:
    return [sa.Column(name, sa.BigInteger(), nullable=False) for name in names]


def _key(name: str, kind: Any) -> sa.Column[int]:
    return sa.Column(name, kind, primary_key=True, autoincrement=False, nullable=False)


def _json(name: str) -> sa.Column[str]:
    exact = mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin")
    return sa.Column(name, sa.Text().with_variant(exact, "mysql", "mariadb"), nullable=False)


def upgrade() -> None:
    op.create_table(
        "mod_scaiqueue_mode",
        _key("id", sa.SmallInteger()),
        sa.Column("mode", sa.String(16), nullable=False),
        *_big("term", "since"),
        **OPTIONS,
    )
    op.execute("INSERT INTO mod_scaiqueue_mode (id, mode, term, since) VALUES (1, 'redis', 0, 0)")
    op.create_table(
        "mod_scaiqueue_left_positions",
        _key("shard", sa.Integer()),
        *_big("epoch", "n", "published", "updated_at"),
        **OPTIONS,
    )
    op.create_table(
        "mod_scaiqueue_fallback_members",
        *_big("term"),
        _ascii("message_id", 36),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        _ascii("scope_id", 36),
        _ascii("queue", 63),
        *_big("score"),
        sa.PrimaryKeyConstraint("term", "message_id", "kind"),
        **OPTIONS,
    )
    members = "mod_scaiqueue_fallback_members"
    op.create_index(
        "ix_fallback_members_order", members, ["term", "scope_id", "queue", "kind", "score", "message_id"]
    )
    op.create_index("ix_fallback_members_due", members, ["term", "kind", "score"])
    op.create_table(
        "mod_scaiqueue_fallback_queues",
        *_big("term"),
        _ascii("scope_id", 36),
        _ascii("queue", 63),
        sa.Column("filled_state", sa.SmallInteger(), nullable=False),
        _ascii("filled_to", 36),
        sa.PrimaryKeyConstraint("term", "scope_id", "queue"),
        **OPTIONS,
    )
    op.create_table(
        "mod_scaiqueue_fallback_scopes",
        *_big("term"),
        _ascii("scope_id", 36),
        *_big("seq", "token"),
        sa.PrimaryKeyConstraint("term", "scope_id"),
        **OPTIONS,
    )
    op.create_table(
        "mod_scaiqueue_fallback_claims",
        *_big("term"),
        _ascii("scope_id", 36),
        _ascii("key_hash", 64),
        sa.Column("token", sa.String(40), nullable=False),
        _json("ids"),
        *_big("expires_at"),
        sa.PrimaryKeyConstraint("term", "scope_id", "key_hash"),
        **OPTIONS,
    )


def downgrade() -> None:
    for name in reversed(TABLES):
        op.drop_table(f"mod_scaiqueue_{name}")
