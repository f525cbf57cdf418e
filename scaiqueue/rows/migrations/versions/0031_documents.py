"""JSON Schemas and patterns of reviews, by name and version."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0031"
down_revision = "0030"
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


def _text(length: int, charset: str = "ascii") -> sa.types.TypeEngine[str]:
    return sa.String(length).with_variant(
        mysql.VARCHAR(length, charset=charset, collation=f"{charset}_bin"), "mysql", "mariadb"
    )


def _columns() -> list[sa.Column[object]]:
    json = sa.Text().with_variant(
        mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
    )
    return [
        sa.Column("id", _text(36), nullable=False),
        sa.Column("tenant_id", _text(63), nullable=False),
        sa.Column("scope_id", _text(36), nullable=False),
        sa.Column("name", _text(63), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("document", json, nullable=False),
        sa.Column("created_by", _text(320, "utf8mb4"), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
    ]


def upgrade() -> None:
    op.create_table(
        "mod_scaiqueue_schemas",
        *_columns(),
        sa.Column("message_type", _text(256, "utf8mb4"), nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("scope_id", "name", "version", name="uq_scaiqueue_schema_version"),
        **ENGINE,
    )
    op.create_table(
        "mod_scaiqueue_hitl_patterns",
        *_columns(),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("scope_id", "name", "version", name="uq_scaiqueue_pattern_version"),
        **ENGINE,
    )


def downgrade() -> None:
    op.drop_table("mod_scaiqueue_hitl_patterns")
    op.drop_table("mod_scaiqueue_schemas")
