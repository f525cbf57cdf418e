"""Grants, queue ACLs, trusts between scopes, and rate limits of keys."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql

revision = "0052"
down_revision = "0051"
branch_labels = None
depends_on = None

OPTIONS: dict[str, Any] = {
    f"{dialect}_{option}": value
    for dialect in ("mysql", "mariadb")
    for option, value in (("engine", "InnoDB"), ("charset", "utf8mb4"), ("collate", "utf8mb4_bin"))
}
JSON = sa.Text().with_variant(mysql.LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")


def _text(length: int, charset: str = "ascii") -> sa.String:
    exact = mysql.VARCHAR(length, charset=charset, collation=f"{charset}_bin")
    return sa.String(length).with_variant(exact, "mysql", "mariadb")


UUID, SLUG, ACTOR = _text(36), _text(63), _text(320, "utf8mb4")


def upgrade() -> None:
    op.create_table(
        "mod_scaiqueue_grants",
        sa.Column("id", UUID, nullable=False),
        sa.Column("tenant_id", SLUG, nullable=False),
        sa.Column("scope_id", UUID, nullable=False),
        sa.Column("key_id", UUID, nullable=False),
        sa.Column("permissions", JSON, nullable=False),
        sa.Column("created_by", ACTOR, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        **OPTIONS,
    )
    op.create_index("ix_grants_scope", "mod_scaiqueue_grants", ["scope_id", "id"])
    op.create_table(
        "mod_scaiqueue_acls",
        sa.Column("queue_id", UUID, nullable=False),
        sa.Column("tenant_id", SLUG, nullable=False),
        sa.Column("scope_id", UUID, nullable=False),
        sa.Column("entries", JSON, nullable=False),
        sa.Column("updated_by", ACTOR, nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("queue_id"),
        **OPTIONS,
    )
    op.create_index("ix_acls_scope", "mod_scaiqueue_acls", ["scope_id"])
    op.create_table(
        "mod_scaiqueue_trusts",
        sa.Column("id", UUID, nullable=False),
        sa.Column("tenant_id", SLUG, nullable=False),
        sa.Column("from_scope", UUID, nullable=False),
        sa.Column("to_scope", UUID, nullable=False),
        sa.Column("terms", JSON, nullable=False),
        sa.Column("created_by", ACTOR, nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        **OPTIONS,
    )
    op.create_index("ix_trusts_to", "mod_scaiqueue_trusts", ["to_scope", "from_scope"])
    op.create_index("ix_trusts_from", "mod_scaiqueue_trusts", ["from_scope"])
    for name in ("rate_limit", "rate_burst"):
        op.add_column(
            "mod_scaiqueue_api_keys", sa.Column(name, sa.Integer(), nullable=False, server_default="0")
        )
    op.execute("INSERT INTO mod_scaiqueue_installation (name, value) VALUES ('access_version', '1')")


def downgrade() -> None:
    op.execute("DELETE FROM mod_scaiqueue_installation WHERE name = 'access_version'")
    for name in ("rate_burst", "rate_limit"):
        op.drop_column("mod_scaiqueue_api_keys", name)
    for name in ("trusts", "acls", "grants"):
        op.drop_table(f"mod_scaiqueue_{name}")
