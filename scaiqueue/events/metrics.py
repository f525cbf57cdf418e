"""Listeners of this process, for Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

listeners = Gauge("scaiqueue_event_listeners", "Connections that events are told to: sse, websocket", ["by"])
told_total = Counter("scaiqueue_events_told_total", "Events sent to listeners: sse, websocket", ["by"])
waits = Gauge("scaiqueue_message_waits", "Calls that wait for the end of one message")
