"""osqueue's wire protocol, REST, WebSocket and Connect, on a scope and its queues."""
