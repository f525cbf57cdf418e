"""What osqueue's clients asked for, for Prometheus."""

from __future__ import annotations

from functools import cache

from prometheus_client import Counter, Gauge, Histogram

osqueue_requests_total = Counter(
    "scaiqueue_osqueue_requests_total",
    "Calls of osqueue's protocol; the result is ok or an error's code",
    ["transport", "method", "result"],
)
osqueue_request_duration_seconds = Histogram(
    "scaiqueue_osqueue_request_duration_seconds",
    "Duration of calls of osqueue's protocol",
    ["transport", "method"],
)
osqueue_connections = Gauge(
    "scaiqueue_osqueue_connections", "Open WebSocket connections of osqueue's clients"
)


@cache
def _bound(transport: str, method: str, result: str) -> tuple[Counter, Histogram]:
    return (
        osqueue_requests_total.labels(transport, method, result),
        osqueue_request_duration_seconds.labels(transport, method),
    )


def observe(transport: str, method: str, result: str, seconds: float) -> None:
    """All three are of small sets of words."""
    requests, duration = _bound(transport, method, result)
    requests.inc()
    duration.observe(seconds)
