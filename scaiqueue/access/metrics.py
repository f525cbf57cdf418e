"""What was refused, and how far rates and transfers went, for Prometheus."""

from __future__ import annotations

from prometheus_client import Counter

access_refused_total = Counter(
    "scaiqueue_access_refused_total",
    "Calls refused by permission, limit or ACL: permission, scope_limit, queue_limit, acl_deny, acl_allow",
    ["reason"],
)
policies_read_total = Counter(
    "scaiqueue_access_policies_read_total", "Grants and ACLs of a scope read from the rows"
)
rates_checked_total = Counter(
    "scaiqueue_rates_checked_total",
    "Calls of keys with a rate limit: passed, limited, unchecked (Redis was away)",
    ["result"],
)
transfers_total = Counter(
    "scaiqueue_transfers_total",
    "Messages that rules sent to another scope: arrived, again (a repeat was recognised), untrusted, "
    "refused, waiting (to be tried again)",
    ["result"],
)
