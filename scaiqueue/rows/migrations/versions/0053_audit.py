"""The audit: pages of calls chained by hashes, and checkpoints of the chain."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0053"
down_revision = "0052"
branch_labels = None
depends_on = None

ENGINE: dict[str, Any] = {
    "mysql_engine": "InnoDB",
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mariadb_engine": "InnoDB",
    "mariadb_charset": "utf8mb4",
    "mariadb_collate": "utf8mb4_bin",
}


def _text(length: int) -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(
        mysql.VARCHAR(length, charset="ascii", collation="ascii_bin"), "mysql", "mariadb"
    )


def upgrade() -> None:
    json = sa.Text().with_variant(
        mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
    )
    op.create_table(
        "mod_scaiqueue_audit_log",
        sa.Column("seq", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("tenant_id", _text(63), nullable=False),
        sa.Column("scope_id", _text(36), nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("entries", json, nullable=False),
        sa.Column("prev_hash", _text(64), nullable=False),
        sa.Column("hash", _text(64), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.Index("ix_audit_log_scope", "tenant_id", "scope_id", "seq"),
        **ENGINE,
    )
    op.create_table(
        "mod_scaiqueue_audit_checkpoints",
        sa.Column("seq", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.Column("id", _text(36), nullable=False),
        sa.Column("hash", _text(64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
        sa.Index("ix_audit_checkpoints_id", "id"),
        **ENGINE,
    )


def downgrade() -> None:
    op.drop_table("mod_scaiqueue_audit_checkpoints")
    op.drop_table("mod_scaiqueue_audit_log")
