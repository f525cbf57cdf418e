"""What this process has done with streams, for Prometheus."""

from __future__ import annotations

from prometheus_client import Counter, Gauge

streams_total = Counter(
    "scaiqueue_streams_total", "Streams that were opened, closed, assembled, failed, aborted", ["event"]
)
chunks_total = Counter(
    "scaiqueue_stream_chunks_total", "Chunks sent: stored, duplicate, conflict, full", ["result"]
)
bytes_total = Counter("scaiqueue_stream_bytes_total", "Bytes of the chunks that were stored")
listeners = Gauge("scaiqueue_stream_listeners", "Calls that follow a stream")
