"""What the persister shows to Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

lag_entries = Gauge(
    "scaiqueue_persister_lag_entries", "Journal entries read but not yet in the rows", ["shard"]
)
lag_seconds = Gauge(
    "scaiqueue_persister_lag_seconds",
    "Age of the oldest journal entry that is not yet in the rows",
    ["shard"],
)
batch_messages = Histogram(
    "scaiqueue_persister_batch_messages",
    "Messages a transaction",
    buckets=(1, 3, 10, 30, 100, 300, 1000, 3000),
)
commit_seconds = Histogram(
    "scaiqueue_persister_commit_seconds",
    "Time of one transaction, with its retries",
    buckets=(0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10),
)
retries = Counter("scaiqueue_persister_retries_total", "Transactions that were tried again", ["cause"])
quarantined = Counter("scaiqueue_persister_quarantined_total", "Messages that the row store refused")
rule_actions = Counter(
    "scaiqueue_rule_actions_total",
    "What routing rules did: moved, copied, transformed, escalated, reviewed (put before a human), archived, "
    "tripped (the breaker); without a rule's name: looped (ROUTING_LOOP), unplaced (ROUTE_TARGET)",
    ["tenant", "scope", "rule", "action"],
)
