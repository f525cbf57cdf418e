"""Streams and their chunks."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0051"
down_revision = "0040"
branch_labels = None
depends_on = None

OPTIONS: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}
JSON = sa.Text().with_variant(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")
BODY = sa.LargeBinary().with_variant(mysql.LONGBLOB(), "mysql", "mariadb")
ACTOR = sa.String(320).with_variant(
    mysql.VARCHAR(320, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb"
)


def _ascii(length: int) -> sa.String:
    exact = mysql.VARCHAR(length, charset="ascii", collation="ascii_bin")
    return sa.String(length).with_variant(exact, "mysql", "mariadb")


def _numbers(kind: type[sa.Integer], *names: str) -> list[sa.Column[Any]]:
    return [sa.Column(name, kind(), nullable=False) for name in names]


def upgrade() -> None:
    op.create_table(
        "mod_scaiqueue_streams",
        sa.Column("id", _ascii(36), nullable=False),
        sa.Column("tenant_id", _ascii(63), nullable=False),
        sa.Column("scope_id", _ascii(36), nullable=False),
        sa.Column("shard", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("queue", _ascii(63), nullable=False),
        sa.Column("template", JSON, nullable=False),
        sa.Column("actor", ACTOR, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("message_id", _ascii(36), nullable=False),
        *_numbers(sa.Integer, "next_seq", "highest_seq", "final_seq", "chunk_count"),
        *_numbers(sa.BigInteger, "byte_count", "max_bytes"),
        *_numbers(sa.Integer, "max_chunks", "idle_ms"),
        *_numbers(sa.BigInteger, "created_at", "updated_at", "epoch", "n"),
        sa.PrimaryKeyConstraint("id"),
        **OPTIONS,
    )
    op.create_index("ix_streams_scope", "mod_scaiqueue_streams", ["scope_id", "id"])
    op.create_index("ix_streams_state", "mod_scaiqueue_streams", ["state", "updated_at"])
    op.create_table(
        "mod_scaiqueue_stream_chunks",
        sa.Column("stream_id", _ascii(36), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("data", BODY, nullable=False),
        sa.PrimaryKeyConstraint("stream_id", "seq"),
        **OPTIONS,
    )


def downgrade() -> None:
    op.drop_table("mod_scaiqueue_stream_chunks")
    op.drop_table("mod_scaiqueue_streams")
