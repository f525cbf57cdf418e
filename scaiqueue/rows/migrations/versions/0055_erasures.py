"""Erasures: what is to be erased, and how far it is."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0055"
down_revision = "0054"
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


def _json(name: str) -> sa.Column[str]:
    kind = sa.Text().with_variant(
        mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
    )
    return sa.Column(name, kind, nullable=False)


def upgrade() -> None:
    op.create_table(
        "mod_scaiqueue_erasures",
        sa.Column("id", _text(36), nullable=False),
        sa.Column("tenant_id", _text(63), nullable=False),
        sa.Column("scope_id", _text(36), nullable=False),
        sa.Column("mode", sa.String(16), nullable=False),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        _json("kinds"),
        _json("subject"),
        sa.Column("state", sa.String(16), nullable=False),
        _json("counts"),
        _json("cursor"),
        sa.Column("cancel_requested", sa.Boolean(), nullable=False),
        sa.Column("actor", _text(320, "utf8mb4"), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.Index("ix_erasures_tenant", "tenant_id", "id"),
        **ENGINE,
    )


def downgrade() -> None:
    op.drop_table("mod_scaiqueue_erasures")
