"""What this process has done, for Prometheus. Scopes beyond a bound share one label value."""

from __future__ import annotations

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

MAX_SCOPES = 1000
OTHER = "(other)"

_seen: set[str] = set()
# The counter of a tenant's scope and verb; only of scopes with a label value of their own.
_bound: dict[tuple[str, str, str], Counter] = {}

messages_total = Counter(
    "scaiqueue_messages_total", "Messages that a verb was applied to", ["tenant", "scope", "verb"]
)
refused_total = Counter("scaiqueue_refused_total", "Items and calls refused", ["code"])
schema_checks_total = Counter(
    "scaiqueue_schema_checks_total",
    "Bodies held against a schema: passed, warned, refused",
    ["tenant", "scope", "result"],
)
reviews_decided_total = Counter(
    "scaiqueue_reviews_decided_total", "Decisions of reviewers: made, refused, late", ["result"]
)
claims_waiting = Gauge("scaiqueue_claims_waiting", "Claims that wait for a message")
call_items = Histogram(
    "scaiqueue_call_items",
    "Items of concurrent requests that shared one script call",
    ["verb"],
    buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000),
)
redis_memory_ratio = Gauge(
    "scaiqueue_redis_memory_ratio", "Used memory of Redis by its maxmemory; 0 without one, alarm from 0.9"
)


def count(tenant: str, scope: str, verb: str, messages: int) -> None:
    """`messages` went through `verb`; the scope is named by its slug."""
    if not messages:
        return
    counter = _bound.get((tenant, scope, verb))
    if counter is None:
        label = _label(scope)
        counter = messages_total.labels(tenant, label, verb)
        if label is not OTHER:
            _bound[tenant, scope, verb] = counter
    counter.inc(messages)


def _label(scope: str) -> str:
    if scope in _seen or len(_seen) < MAX_SCOPES:
        _seen.add(scope)
        return scope
    return OTHER


def count_schema_check(tenant: str, scope: str, result: str) -> None:
    """One body was held against a schema."""
    schema_checks_total.labels(tenant, _label(scope), result).inc()


@cache
def _call_items(verb: str) -> Histogram:
    return call_items.labels(verb)


def count_call(verb: str, items: int) -> None:
    """One script call carried so many items."""
    _call_items(verb).observe(items)
