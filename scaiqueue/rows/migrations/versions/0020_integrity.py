"""What the consistency checker found."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0020"
down_revision = "0004"
branch_labels = None
depends_on = None

OPTIONS: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}


def _text(length: int, charset: str) -> sa.String:
    exact = mysql.VARCHAR(length, charset=charset, collation=f"{charset}_bin")
    return sa.String(length).with_variant(exact, "mysql", "mariadb")


def upgrade() -> None:
    op.create_table(
        "mod_scaiqueue_integrity",
        sa.Column("id", _text(36, "ascii"), primary_key=True),
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("tenant_id", _text(63, "ascii"), nullable=False),
        sa.Column("scope_id", _text(36, "ascii"), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("queue", _text(63, "ascii"), nullable=False),
        sa.Column("subject", _text(256, "utf8mb4"), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("found_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("looks", sa.Integer(), nullable=False),
        sa.Column("corrected_at", sa.BigInteger(), nullable=False),
        sa.Column("correction", sa.Text(), nullable=False),
        sa.Index("ix_integrity_scope", "scope_id", "id"),
        sa.Index("ix_integrity_seen", "seen_at"),
        **OPTIONS,
    )


def downgrade() -> None:
    op.drop_table("mod_scaiqueue_integrity")
