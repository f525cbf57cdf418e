"""What the fallback shows to Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

from scaiqueue.fallback.mode import Mode

mode = Gauge(
    "scaiqueue_mode",
    "1 for the mode that holds: redis, leaving, fallback (by the rows) or returning",
    ["mode"],
)
fallback_calls = Counter(
    "scaiqueue_fallback_calls_total", "Calls answered from the rows while Redis was away", ["verb"]
)
switches = Counter("scaiqueue_mode_changes_total", "Changes of the mode that this process has seen", ["mode"])


def show(present: Mode) -> None:
    for each in Mode:
        mode.labels(each.value).set(each is present)
