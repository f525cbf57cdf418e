"""What a worker delivers, for Prometheus. No label grows with webhooks."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

attempts_total = Counter(
    "scaiqueue_webhook_attempts_total", "Calls to receivers: delivered, retried, given_up", ["result"]
)
attempt_seconds = Histogram("scaiqueue_webhook_attempt_seconds", "How long receivers took to answer")
lag_seconds = Histogram(
    "scaiqueue_webhook_lag_seconds",
    "From the event to its delivery",
    buckets=(0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 600, 3600, 86400),
)
served = Gauge("scaiqueue_webhooks_served", "Webhooks that this worker delivers for")
disabled_total = Counter("scaiqueue_webhooks_disabled_total", "Webhooks switched off after a long failure")
