"""A worker's Prometheus metrics: `Worker(app, hooks=[Metrics()])`."""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from scaiqueue.client.messages import Claimed
from scaiqueue.client.worker.hooks import Hooks, Result

MAX_TYPES, OTHERS = 1000, "(others)"
_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300, 1800)


class Metrics(Hooks):
    """One for a process: the names are registered once."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
        self._types: set[str] = set()
        self._ended = Counter(
            "scaiqueue_worker_jobs_total",
            "Handlers that ended, by result.",
            ("queue", "type", "result"),
            registry=registry,
        )
        self._seconds = Histogram(
            "scaiqueue_worker_job_seconds",
            "How long handlers ran.",
            ("queue", "type"),
            buckets=_SECONDS,
            registry=registry,
        )
        self._running = Gauge("scaiqueue_worker_jobs_running", "Handlers that run now.", registry=registry)
        self._troubles = Counter(
            "scaiqueue_worker_troubles_total",
            "What went wrong outside of handlers, by exception.",
            ("error",),
            registry=registry,
        )

    def started(self, message: Claimed) -> None:
        self._running.inc()

    def ended(self, message: Claimed, result: Result, seconds: float, error: BaseException | None) -> None:
        self._running.dec()
        type = self._bounded(message.type)
        self._ended.labels(message.queue, type, result).inc()
        self._seconds.labels(message.queue, type).observe(seconds)

    def _bounded(self, type: str) -> str:
        """Publishers choose types: beyond so many the rest share one label value."""
        if type not in self._types:
            if len(self._types) >= MAX_TYPES:
                return OTHERS
            self._types.add(type)
        return type

    def trouble(self, error: BaseException) -> None:
        self._troubles.labels(type(error).__name__).inc()
