"""One definition of every table, for MariaDB and SQLite. Times are ms since 1970, UTC; ids are UUID text."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.mysql import LONGBLOB, LONGTEXT, VARCHAR

PREFIX = "mod_scaiqueue_"

metadata = MetaData()

Uuid = String(36).with_variant(VARCHAR(36, charset="ascii", collation="ascii_bin"), "mysql", "mariadb")
Slug = String(63).with_variant(VARCHAR(63, charset="ascii", collation="ascii_bin"), "mysql", "mariadb")
Hash = String(64).with_variant(VARCHAR(64, charset="ascii", collation="ascii_bin"), "mysql", "mariadb")
Name = String(256).with_variant(VARCHAR(256, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")
Actor = String(320).with_variant(VARCHAR(320, charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")
Json = Text().with_variant(LONGTEXT(charset="utf8mb4", collation="utf8mb4_bin"), "mysql", "mariadb")
Body = LargeBinary().with_variant(LONGBLOB(), "mysql", "mariadb")
Ms = BigInteger


def _table(name: str, *parts: Column[object] | Index | PrimaryKeyConstraint | UniqueConstraint) -> Table:
    return Table(
        PREFIX + name,
        metadata,
        *parts,
        mysql_engine="InnoDB",
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mariadb_engine="InnoDB",
        mariadb_charset="utf8mb4",
        mariadb_collate="utf8mb4_bin",
    )


tenants = _table(
    "tenants",
    Column("slug", Slug, primary_key=True),
    Column("created_at", Ms, nullable=False),
)

scopes = _table(
    "scopes",
    Column("id", Uuid, primary_key=True),
    Column("tenant_id", Slug, nullable=False),
    Column("slug", Slug, nullable=False),
    Column("shard", Integer, nullable=False),
    Column("display_name", Name, nullable=False),
    Column("description", Text, nullable=False, default=""),
    Column("durability", String(16), nullable=False, default=""),
    Column("state", String(16), nullable=False, default="active"),
    Column("version", BigInteger, nullable=False, default=1),
    Column("created_at", Ms, nullable=False),
    Column("updated_at", Ms, nullable=False),
    UniqueConstraint("tenant_id", "slug", name="uq_scaiqueue_scope_slug"),
)

queues = _table(
    "queues",
    Column("id", Uuid, primary_key=True),
    Column("tenant_id", Slug, nullable=False),
    Column("scope_id", Uuid, nullable=False),
    Column("slug", Slug, nullable=False),
    Column("display_name", Name, nullable=False),
    Column("description", Text, nullable=False, default=""),
    Column("state", String(16), nullable=False, default="active"),
    Column("settings", Json, nullable=False),
    Column("version", BigInteger, nullable=False, default=1),
    Column("created_at", Ms, nullable=False),
    Column("updated_at", Ms, nullable=False),
    UniqueConstraint("scope_id", "slug", name="uq_scaiqueue_queue_slug"),
)


def _message_columns() -> list[Column[object]]:
    return [
        Column("id", Uuid, primary_key=True),
        Column("tenant_id", Slug, nullable=False),
        Column("scope_id", Uuid, nullable=False),
        Column("queue", Slug, nullable=False),
        Column("state", SmallInteger, nullable=False),
        Column("attempts", Integer, nullable=False),
        Column("seq", BigInteger, nullable=False),
        Column("priority_rank", Integer, nullable=False),
        Column("deadline", Ms, nullable=False),
        Column("expires_at", Ms, nullable=False),
        Column("due_at", Ms, nullable=False),
        Column("max_retries", Integer, nullable=False),
        Column("message_type", Name, nullable=False),
        Column("correlation_id", Name, nullable=False),
        Column("source_id", Name, nullable=False),
        Column("header", Json, nullable=False),
        Column("overlay", Json, nullable=False),
        Column("body", Body, nullable=False),
        Column("flags", Integer, nullable=False),
        Column("token", String(40), nullable=False),
        Column("holder", Actor, nullable=False),
        Column("verb", String(16), nullable=False),
        Column("response", Body, nullable=False),
        Column("failure_reason", Json, nullable=False),
        Column("origin", Json, nullable=False),
        # Transitions in order, one JSON array each, every one followed by a comma; see rows/history.py.
        Column("history", Json, nullable=False),
        Column("history_count", Integer, nullable=False),
        Column("history_skipped", Integer, nullable=False),
        Column("created_at", Ms, nullable=False),
        Column("updated_at", Ms, nullable=False),
        Column("shard", Integer, nullable=False),
        Column("touched_epoch", BigInteger, nullable=False),
        Column("touched_n", BigInteger, nullable=False),
    ]


def _message_indexes(name: str) -> list[Index]:
    return [
        Index(f"ix_{name}_scope", "scope_id", "id"),
        Index(f"ix_{name}_correlation", "scope_id", "correlation_id"),
    ]


messages = _table(
    "messages",
    *_message_columns(),
    *_message_indexes("messages"),
    # The only index that transitions change: lists, recovery and the archiver all go by it.
    Index("ix_messages_state", "scope_id", "queue", "state", "id"),
)
message_archive = _table(
    "message_archive",
    *_message_columns(),
    *_message_indexes("message_archive"),
    Index("ix_message_archive_age", "scope_id", "queue", "updated_at"),
)

# Whose body a copy for a subscription has: its own row has none.
copies = _table(
    "copies",
    Column("message_id", Uuid, primary_key=True),
    Column("parent_id", Uuid, nullable=False),
    Index("ix_copies_parent", "parent_id"),
)

idempotency = _table(
    "idempotency",
    Column("scope_id", Uuid, nullable=False),
    Column("queue", Slug, nullable=False),
    Column("key_hash", Hash, nullable=False),
    Column("message_id", Uuid, nullable=False),
    Column("digest", Hash, nullable=False),
    Column("expires_at", Ms, nullable=False),
    PrimaryKeyConstraint("scope_id", "queue", "key_hash"),
    Index("ix_idempotency_expires", "expires_at"),
    Index("ix_idempotency_message", "message_id"),
)

journal_positions = _table(
    "journal_positions",
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    Column("n", BigInteger, nullable=False),
    Column("published", BigInteger, nullable=False, default=0),
    Column("updated_at", Ms, nullable=False),
)

# One row per journal entry, whatever its number of messages: `transitions` is its flat array of events.
events = _table(
    "events",
    Column("shard", Integer, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("n", BigInteger, nullable=False),
    Column("tenant_id", Slug, nullable=False),
    Column("scope_id", Uuid, nullable=False),
    Column("op", String(32), nullable=False),
    Column("queue", Slug, nullable=False),
    Column("actor", Actor, nullable=False),
    Column("at", Ms, nullable=False),
    Column("transitions", Json, nullable=False),
    Column("detail", Json, nullable=False),
    PrimaryKeyConstraint("shard", "epoch", "n"),
    Index("ix_events_scope", "scope_id", "epoch", "n"),
)

# A ring of minutes per queue and event; see rows/rates.py.
rates = _table(
    "rates",
    Column("scope_id", Uuid, nullable=False),
    Column("queue", Slug, nullable=False),
    Column("event", String(32), nullable=False),
    Column("slot", Integer, nullable=False),
    Column("minute", BigInteger, nullable=False),
    Column("events", BigInteger, nullable=False),
    PrimaryKeyConstraint("scope_id", "queue", "event", "slot"),
)

quarantine = _table(
    "quarantine",
    Column("id", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True),
    Column("scope_id", Uuid, nullable=False),
    Column("message_id", Uuid, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("n", BigInteger, nullable=False),
    Column("record", Body, nullable=False),
    Column("envelope", Body, nullable=False),
    Column("error", Text, nullable=False),
    Column("at", Ms, nullable=False),
)

# What the consistency checker found: the system queues _integrity and _corrections are views of it.
integrity = _table(
    "integrity",
    Column("id", Uuid, primary_key=True),
    Column("shard", Integer, nullable=False),
    Column("tenant_id", Slug, nullable=False),
    Column("scope_id", Uuid, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("queue", Slug, nullable=False),
    Column("subject", Name, nullable=False),
    Column("detail", Text, nullable=False),
    Column("found_at", Ms, nullable=False),
    Column("seen_at", Ms, nullable=False),
    Column("looks", Integer, nullable=False),
    Column("corrected_at", Ms, nullable=False),
    Column("correction", Text, nullable=False),
    Index("ix_integrity_scope", "scope_id", "id"),
    Index("ix_integrity_seen", "seen_at"),
)

# Pages of calls, appended and chained by hashes; see scaiqueue/audit. A page is of one scope, or of none.
audit_log = _table(
    "audit_log",
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("tenant_id", Slug, nullable=False),
    Column("scope_id", Uuid, nullable=False),
    Column("first_at", Ms, nullable=False),
    Column("last_at", Ms, nullable=False),
    Column("calls", Integer, nullable=False),
    Column("entries", Json, nullable=False),
    Column("prev_hash", Hash, nullable=False),
    Column("hash", Hash, nullable=False),
    Index("ix_audit_log_scope", "tenant_id", "scope_id", "seq"),
)

# Up to here the audit's chain was whole.
audit_checkpoints = _table(
    "audit_checkpoints",
    Column("seq", BigInteger, primary_key=True, autoincrement=False),
    Column("id", Uuid, nullable=False),
    Column("hash", Hash, nullable=False),
    Column("at", Ms, nullable=False),
    Index("ix_audit_checkpoints_id", "id"),
)

api_keys = _table(
    "api_keys",
    Column("id", Uuid, primary_key=True),
    Column("tenant_id", Slug, nullable=False),
    Column("name", Name, nullable=False),
    Column("key_hash", Hash, nullable=False),
    Column("prefix", String(16), nullable=False),
    Column("permissions", Json, nullable=False),
    Column("scopes", Json, nullable=False),
    Column("queues", Json, nullable=False),
    Column("created_at", Ms, nullable=False),
    Column("expires_at", Ms, nullable=False, default=0),
    Column("revoked_at", Ms, nullable=False, default=0),
    Column("last_used_at", Ms, nullable=False, default=0),
    Column("rate_limit", Integer, nullable=False, default=0, server_default="0"),
    Column("rate_burst", Integer, nullable=False, default=0, server_default="0"),
    UniqueConstraint("key_hash", name="uq_scaiqueue_key_hash"),
    Index("ix_api_keys_tenant", "tenant_id", "id"),
)

grants = _table(
    "grants",
    Column("id", Uuid, primary_key=True),
    Column("tenant_id", Slug, nullable=False),
    Column("scope_id", Uuid, nullable=False),
    Column("key_id", Uuid, nullable=False),
    Column("permissions", Json, nullable=False),
    Column("created_by", Actor, nullable=False),
    Column("created_at", Ms, nullable=False),
    Column("expires_at", Ms, nullable=False),
    Index("ix_grants_scope", "scope_id", "id"),
)
acls = _table(
    "acls",
    Column("queue_id", Uuid, primary_key=True),
    Column("tenant_id", Slug, nullable=False),
    Column("scope_id", Uuid, nullable=False),
    Column("entries", Json, nullable=False),
    Column("updated_by", Actor, nullable=False),
    Column("updated_at", Ms, nullable=False),
    Index("ix_acls_scope", "scope_id"),
)
trusts = _table(
    "trusts",
    Column("id", Uuid, primary_key=True),
    Column("tenant_id", Slug, nullable=False),
    Column("from_scope", Uuid, nullable=False),
    Column("to_scope", Uuid, nullable=False),
    Column("terms", Json, nullable=False),
    Column("created_by", Actor, nullable=False),
    Column("created_at", Ms, nullable=False),
    Index("ix_trusts_to", "to_scope", "from_scope"),
    Index("ix_trusts_from", "from_scope"),
)

# `definition` is JSON of `when` and `then`, the queues in it by their slugs; `queue` "" is any.
routing_rules = _table(
    "routing_rules",
    Column("id", Uuid, primary_key=True),
    Column("tenant_id", Slug, nullable=False),
    Column("scope_id", Uuid, nullable=False),
    Column("name", Slug, nullable=False),
    Column("queue", Slug, nullable=False),
    Column("trigger", String(32), nullable=False),
    Column("position", Integer, nullable=False),
    Column("definition", Json, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("version", BigInteger, nullable=False, default=1),
    Column("created_at", Ms, nullable=False),
    Column("updated_at", Ms, nullable=False),
    UniqueConstraint("scope_id", "name", name="uq_scaiqueue_rule_name"),
)

# `slug` is that of the queue, in `queues` with the same id, which holds the copies. `filled_to` is the last
# of the older messages that were looked at for `earliest`, `fill_before` the number of the first that is not
# one of them.
subscriptions = _table(
    "subscriptions",
    Column("id", Uuid, primary_key=True),
    Column("tenant_id", Slug, nullable=False),
    Column("scope_id", Uuid, nullable=False),
    Column("queue", Slug, nullable=False),
    Column("name", Slug, nullable=False),
    Column("slug", Slug, nullable=False),
    Column("filter", Json, nullable=False),
    Column("start", String(16), nullable=False),
    Column("delivery", String(16), nullable=False),
    Column("dedup_window_s", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("fill_before", BigInteger, nullable=False),
    Column("filled_to", Uuid, nullable=False),
    Column("filled", BigInteger, nullable=False),
    Column("version", BigInteger, nullable=False, default=1),
    Column("created_at", Ms, nullable=False),
    Column("updated_at", Ms, nullable=False),
    UniqueConstraint("scope_id", "queue", "name", name="uq_scaiqueue_subscription_name"),
    Index("ix_subscriptions_state", "state", "updated_at"),
)

system_agents = _table(
    "system_agents",
    Column("name", String(64), primary_key=True),
    Column("schedule", String(64), nullable=False),
    Column("last_run_at", Ms, nullable=False, default=0),
    Column("last_duration_ms", Integer, nullable=False, default=0),
    Column("last_result", Json, nullable=False, default="{}"),
    Column("runs", BigInteger, nullable=False, default=0),
    Column("errors", BigInteger, nullable=False, default=0),
    Column("next_run_at", Ms, nullable=False, default=0),
)


def _version_columns() -> list[Column[object]]:
    """Of documents that have a name and never change: another version is another row."""
    return [
        Column("id", Uuid, primary_key=True),
        Column("tenant_id", Slug, nullable=False),
        Column("scope_id", Uuid, nullable=False),
        Column("name", Slug, nullable=False),
        Column("version", Integer, nullable=False),
        Column("document", Json, nullable=False),
        Column("created_by", Actor, nullable=False),
        Column("created_at", Ms, nullable=False),
    ]


schemas = _table(
    "schemas",
    *_version_columns(),
    Column("message_type", Name, nullable=False),
    Column("mode", String(16), nullable=False),
    UniqueConstraint("scope_id", "name", "version", name="uq_scaiqueue_schema_version"),
)

hitl_patterns = _table(
    "hitl_patterns",
    *_version_columns(),
    UniqueConstraint("scope_id", "name", "version", name="uq_scaiqueue_pattern_version"),
)

# Named as in a stream's hash in Redis. `template` is JSON of what its message is made of.
streams = _table(
    "streams",
    Column("id", Uuid, primary_key=True),
    Column("tenant_id", Slug, nullable=False),
    Column("scope_id", Uuid, nullable=False),
    Column("shard", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("queue", Slug, nullable=False),
    Column("template", Json, nullable=False),
    Column("actor", Actor, nullable=False),
    Column("reason", Text, nullable=False),
    Column("message_id", Uuid, nullable=False),
    Column("next_seq", Integer, nullable=False),
    Column("highest_seq", Integer, nullable=False),
    Column("final_seq", Integer, nullable=False),
    Column("chunk_count", Integer, nullable=False),
    Column("byte_count", BigInteger, nullable=False),
    Column("max_bytes", BigInteger, nullable=False),
    Column("max_chunks", Integer, nullable=False),
    Column("idle_ms", Integer, nullable=False),
    Column("created_at", Ms, nullable=False),
    Column("updated_at", Ms, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("n", BigInteger, nullable=False),
    Index("ix_streams_scope", "scope_id", "id"),
    Index("ix_streams_state", "state", "updated_at"),
)

stream_chunks = _table(
    "stream_chunks",
    Column("stream_id", Uuid, nullable=False),
    Column("seq", Integer, nullable=False),
    Column("data", Body, nullable=False),
    PrimaryKeyConstraint("stream_id", "seq"),
)

jobs = _table(
    "jobs",
    Column("id", Uuid, primary_key=True),
    Column("tenant_id", Slug, nullable=False),
    Column("scope_id", Uuid, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("state", String(16), nullable=False),
    Column("parameters", Json, nullable=False),
    Column("progress", Json, nullable=False),
    Column("cancel_requested", Boolean, nullable=False, default=False),
    Column("actor", Actor, nullable=False),
    Column("created_at", Ms, nullable=False),
    Column("updated_at", Ms, nullable=False),
    Index("ix_jobs_scope", "scope_id", "id"),
)

# `subject` is JSON of what the person's messages are found by, and "" once the erasure has ended; `cursor`
# where it goes on.
erasures = _table(
    "erasures",
    Column("id", Uuid, primary_key=True),
    Column("tenant_id", Slug, nullable=False),
    Column("scope_id", Uuid, nullable=False),
    Column("mode", String(16), nullable=False),
    Column("dry_run", Boolean, nullable=False),
    Column("kinds", Json, nullable=False),
    Column("subject", Json, nullable=False),
    Column("state", String(16), nullable=False),
    Column("counts", Json, nullable=False),
    Column("cursor", Json, nullable=False),
    Column("cancel_requested", Boolean, nullable=False, default=False),
    Column("actor", Actor, nullable=False),
    Column("created_at", Ms, nullable=False),
    Column("updated_at", Ms, nullable=False),
    Index("ix_erasures_tenant", "tenant_id", "id"),
)

installation = _table(
    "installation",
    Column("name", String(64), primary_key=True),
    Column("value", Text, nullable=False),
)

# Which path transitions take: one row for the installation; see scaiqueue/fallback/mode.py.
mode = _table(
    "mode",
    Column("id", SmallInteger, primary_key=True, autoincrement=False),
    Column("mode", String(16), nullable=False),
    Column("term", BigInteger, nullable=False),
    Column("since", Ms, nullable=False),
)

# Where the rows stood in each shard's journal when Redis was left; a row is deleted once that shard is back.
left_positions = _table(
    "left_positions",
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    Column("n", BigInteger, nullable=False),
    Column("published", BigInteger, nullable=False, default=0),
    Column("updated_at", Ms, nullable=False),
)

# What the rows need while Redis is away, and nobody else writes: the sorted sets of the queues in use, how
# far each is filled, counters of scopes, and what claim ids were given. A term is one time without Redis.
fallback_members = _table(
    "fallback_members",
    Column("term", BigInteger, nullable=False),
    Column("message_id", Uuid, nullable=False),
    Column("kind", SmallInteger, nullable=False),
    Column("scope_id", Uuid, nullable=False),
    Column("queue", Slug, nullable=False),
    Column("score", BigInteger, nullable=False),
    PrimaryKeyConstraint("term", "message_id", "kind"),
    Index("ix_fallback_members_order", "term", "scope_id", "queue", "kind", "score", "message_id"),
    Index("ix_fallback_members_due", "term", "kind", "score"),
)
fallback_queues = _table(
    "fallback_queues",
    Column("term", BigInteger, nullable=False),
    Column("scope_id", Uuid, nullable=False),
    Column("queue", Slug, nullable=False),
    Column("filled_state", SmallInteger, nullable=False),
    Column("filled_to", Uuid, nullable=False),
    PrimaryKeyConstraint("term", "scope_id", "queue"),
)
fallback_scopes = _table(
    "fallback_scopes",
    Column("term", BigInteger, nullable=False),
    Column("scope_id", Uuid, nullable=False),
    Column("seq", BigInteger, nullable=False),
    Column("token", BigInteger, nullable=False),
    PrimaryKeyConstraint("term", "scope_id"),
)
fallback_claims = _table(
    "fallback_claims",
    Column("term", BigInteger, nullable=False),
    Column("scope_id", Uuid, nullable=False),
    Column("key_hash", Hash, nullable=False),
    Column("token", String(40), nullable=False),
    Column("ids", Json, nullable=False),
    Column("expires_at", Ms, nullable=False),
    PrimaryKeyConstraint("term", "scope_id", "key_hash"),
)
