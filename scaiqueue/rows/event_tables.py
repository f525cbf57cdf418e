"""Tables of events beside the journal's, and of webhooks; part of the metadata of rows/tables.py."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, PrimaryKeyConstraint, String, Text

from scaiqueue.rows.tables import Json, Ms, Slug, Uuid, _table

# What is told and has no place of its own in the journal: changes of configuration, and what a journal held
# when Redis was left. It stands behind the entry that the rows had reached, in the order of `place`. Ids of
# events are made from `origin`.
event_addenda = _table(
    "event_addenda",
    Column("shard", Integer, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("n", BigInteger, nullable=False),
    Column("place", Integer, nullable=False),
    Column("origin", String(64), nullable=False),
    Column("tenant_id", Slug, nullable=False),
    Column("scope_id", Uuid, nullable=False),
    Column("op", String(32), nullable=False),
    Column("queue", Slug, nullable=False),
    Column("at", Ms, nullable=False),
    Column("transitions", Json, nullable=False),
    Column("detail", Json, nullable=False),
    PrimaryKeyConstraint("shard", "epoch", "n", "place"),
    Index("ix_event_addenda_scope", "scope_id", "epoch", "n", "place"),
)

# Up to where the events of a shard are kept no longer.
event_horizons = _table(
    "event_horizons",
    Column("shard", Integer, primary_key=True, autoincrement=False),
    Column("epoch", BigInteger, nullable=False),
    Column("n", BigInteger, nullable=False),
)

# `scope_id`, `queue` "" are any; `events` is a JSON list of patterns. One worker at a time delivers for a
# webhook: the one that holds its lease. `failing_since` 0: the last attempt succeeded.
webhooks = _table(
    "webhooks",
    Column("id", Uuid, primary_key=True),
    Column("tenant_id", Slug, nullable=False),
    Column("scope_id", Uuid, nullable=False),
    Column("queue", Slug, nullable=False),
    Column("url", Text, nullable=False),
    Column("events", Json, nullable=False),
    Column("secret", String(256), nullable=False),
    Column("max_retries", Integer, nullable=False),
    Column("description", Text, nullable=False),
    Column("enabled", Boolean, nullable=False),
    Column("disabled_reason", Text, nullable=False),
    Column("failing_since", Ms, nullable=False),
    Column("lease_owner", String(64), nullable=False),
    Column("lease_until", Ms, nullable=False),
    Column("created_at", Ms, nullable=False),
    Column("updated_at", Ms, nullable=False),
    Index("ix_webhooks_tenant", "tenant_id", "id"),
)

# How far a webhook's deliveries are made from a shard's events.
webhook_positions = _table(
    "webhook_positions",
    Column("webhook_id", Uuid, nullable=False),
    Column("shard", Integer, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("n", BigInteger, nullable=False),
    Column("place", Integer, nullable=False),
    Column("part", Integer, nullable=False),
    PrimaryKeyConstraint("webhook_id", "shard"),
)

# A delivery names its event by place and holds nothing of its content. Those of one `subject` are in order.
webhook_deliveries = _table(
    "webhook_deliveries",
    Column("id", Uuid, primary_key=True),
    Column("webhook_id", Uuid, nullable=False),
    Column("tenant_id", Slug, nullable=False),
    Column("scope_id", Uuid, nullable=False),
    Column("event_id", Uuid, nullable=False),
    Column("event_type", String(64), nullable=False),
    Column("subject", Uuid, nullable=False),
    Column("shard", Integer, nullable=False),
    Column("epoch", BigInteger, nullable=False),
    Column("n", BigInteger, nullable=False),
    Column("place", Integer, nullable=False),
    Column("part", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_at", Ms, nullable=False),
    Column("status_code", Integer, nullable=False),
    Column("error", Text, nullable=False),
    Column("duration_ms", Integer, nullable=False),
    Column("replay_of", Uuid, nullable=False),
    Column("created_at", Ms, nullable=False),
    Column("updated_at", Ms, nullable=False),
    Index("ix_webhook_deliveries_webhook", "webhook_id", "id"),
    Index("ix_webhook_deliveries_state", "webhook_id", "state", "id"),
    Index("ix_webhook_deliveries_age", "created_at"),
)
