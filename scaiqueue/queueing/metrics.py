"""What this process has done, for Prometheus. Scopes beyond a bound share one label value."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

MAX_SCOPES = 1000
OTHER = "(other)"

_seen: set[str] = set()

messages_total = Counter(
    "scaiqueue_messages_total", "Messages that a verb was applied to", ["tenant", "scope", "verb"]
)
refused_total = Counter("scaiqueue_refused_total", "Items and calls refused", ["code"])
claims_waiting = Gauge("scaiqueue_claims_waiting", "Claims that wait for a message")
call_items = Histogram(
    "scaiqueue_call_items",
    "Items of concurrent requests that shared one script call",
    ["verb"],
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
)


def count(tenant: str, scope: str, verb: str, messages: int) -> None:
    """`messages` went through `verb`; the scope is named by its slug."""
    if messages:
        if scope not in _seen:
            if len(_seen) >= MAX_SCOPES:
                scope = OTHER
            else:
                _seen.add(scope)
        messages_total.labels(tenant, scope, verb).inc(messages)
