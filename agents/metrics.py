"""What a worker process counts. Units stand in the names; what is labelled by names has a bound."""

from __future__ import annotations

from prometheus_client import Counter, Gauge, Histogram

RUNS = Counter("scaiqueue_agent_runs_total", "Runs of an agent that ended.", ["agent", "result"])
RUN_SECONDS = Histogram("scaiqueue_agent_run_seconds", "Duration of an agent's runs.", ["agent"])
LAST_RUN = Gauge("scaiqueue_agent_last_run_timestamp_seconds", "When an agent last ended a run.", ["agent"])
DEAD_LETTER_DEPTH = Gauge(
    "scaiqueue_dead_letter_depth", "Messages in all dead-letter queues when the monitor last looked."
)
DEAD_LETTER_GROWTH = Counter(
    "scaiqueue_dead_letter_growth_total", "Messages by which dead-letter queues grew from look to look."
)
_SUBSCRIPTION = ["tenant", "scope", "queue", "subscription"]
SUBSCRIPTION_DEPTH = Gauge(
    "scaiqueue_subscription_depth", "Copies that a subscription has not ended yet.", _SUBSCRIPTION
)
SUBSCRIPTION_LAG = Gauge(
    "scaiqueue_subscription_lag_seconds", "Age of a subscription's oldest pending copy.", _SUBSCRIPTION
)
ARCHIVED = Counter("scaiqueue_messages_archived_total", "Rows moved into the archive table.")
REMOVED = Counter("scaiqueue_messages_removed_total", "Rows deleted because their queue's retention ended.")
STREAMS = Counter(
    "scaiqueue_agent_streams_total",
    "Streams that were aborted as idle, dropped from Redis, deleted.",
    ["what"],
)
DIVERGENCES = Counter("scaiqueue_divergences_total", "Divergences between index and rows.", ["kind"])
CORRECTED = Counter("scaiqueue_divergences_corrected_total", "Divergences that it put right.", ["kind"])
AUDIT_FAULTS = Counter("scaiqueue_audit_faults_total", "Rows of the audit that did not hold.")


def observe_run(agent: str, seconds: float, *, failed: bool) -> None:
    """Count one run that took `seconds`."""
    RUNS.labels(agent, "error" if failed else "ok").inc()
    RUN_SECONDS.labels(agent).observe(seconds)
    LAST_RUN.labels(agent).set_to_current_time()
