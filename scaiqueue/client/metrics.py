"""A worker's Prometheus metrics: `Worker(app, hooks=[Metrics()])`."""

from __future__ import annotations

from prometheus_client import REGISTRY, CollectorRegistry, Counter, Gauge, Histogram

from scaiqueue.client.messages import Claimed
from scaiqueue.client.worker.hooks import Hooks, Result

_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 300, 1800)


class Metrics(Hooks):
    """One for a process: the names are registered once."""

    def __init__(self, registry: CollectorRegistry = REGISTRY) -> None:
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
        self._ended.labels(message.queue, message.type, result).inc()
        self._seconds.labels(message.queue, message.type).observe(seconds)

    def trouble(self, error: BaseException) -> None:
        self._troubles.labels(type(error).__name__).inc()
