"""Hooks, metrics, and the trace that travels with a message."""

from __future__ import annotations

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from prometheus_client import CollectorRegistry

from scaiqueue.client import App, Claimed, Client, Hooks, Worker
from scaiqueue.client.memory import MemoryQueue
from scaiqueue.client.metrics import Metrics


@pytest.fixture
def app() -> App:
    app = App(Client(scope="s", transport=MemoryQueue({"s": ["jobs"]})))

    @app.job("t")
    async def handle(number: int) -> float:
        return 1 / number

    return app


async def test_metrics(app: App) -> None:
    registry = CollectorRegistry()
    for number in (1, 1, 0):
        await app.submit("t", number)
    await Worker(app, hooks=[Metrics(registry)]).run(until_empty=True)

    def count(result: str) -> float | None:
        labels = {"queue": "jobs", "type": "t", "result": result}
        return registry.get_sample_value("scaiqueue_worker_jobs_total", labels)

    assert (count("completed"), count("failed")) == (2, 1)
    assert registry.get_sample_value("scaiqueue_worker_jobs_running") == 0
    seconds = registry.get_sample_value("scaiqueue_worker_job_seconds_count", {"queue": "jobs", "type": "t"})
    assert seconds == 3


async def test_a_hook_that_fails_disturbs_nobody(app: App) -> None:
    class Broken(Hooks):
        def started(self, message: Claimed) -> None:
            raise RuntimeError("of the hook")

    troubles: list[str] = []

    class Listening(Hooks):
        def trouble(self, error: BaseException) -> None:
            troubles.append(str(error))

    await app.submit("t", 1)
    await Worker(app, hooks=[Broken(), Listening()]).run(until_empty=True)
    assert troubles == ["of the hook"]
    assert await app.client.claim("jobs") == []


async def test_a_trace_goes_from_the_publisher_to_the_handler(
    app: App, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    with trace.get_tracer("test").start_as_current_span("request") as request:
        await app.submit("t", 1, labels={"mine": "stays"})
    await app.submit("t", 2)
    await Worker(app).run(until_empty=True)
    spans = {span.name: span for span in exporter.get_finished_spans() if span.parent is not None}
    handled = spans["process jobs"]
    assert handled.parent is not None
    assert handled.parent.span_id == request.get_span_context().span_id
    assert handled.attributes is not None
    assert handled.attributes["messaging.destination.name"] == "jobs"
