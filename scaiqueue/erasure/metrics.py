"""Erasures of this process."""

from __future__ import annotations

from prometheus_client import Counter

erasures_total = Counter("scaiqueue_erasures_total", "Erasures that ended, dry runs too", ["mode", "state"])
messages_total = Counter("scaiqueue_erased_messages_total", "Messages erased or redacted", ["mode"])
