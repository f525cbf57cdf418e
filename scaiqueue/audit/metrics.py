"""What the audit of this process has written and holds."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

calls_total = Counter("scaiqueue_audit_calls_total", "Calls written to the audit")
rows_total = Counter("scaiqueue_audit_rows_total", "Rows that they were written in")
waiting_bytes = Gauge("scaiqueue_audit_waiting_bytes", "Calls that wait for the row store to take them")
retries_total = Counter("scaiqueue_audit_retries_total", "Attempts to write that failed")
turned_away_total = Counter(
    "scaiqueue_audit_turned_away_total", "Calls refused because the audit could not take them"
)
