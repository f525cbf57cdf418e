"""OpenTelemetry's context travels in labels. Without the package nothing happens."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from scaiqueue.client.messages import Message

try:
    from opentelemetry import propagate, trace
except ImportError:
    installed = False
else:
    installed = True

_FIELDS = ("traceparent", "tracestate")
_LONGEST = 256


def active() -> bool:
    """Somebody listens: the package is there, and set up."""
    return installed and not isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


def carried(labels: Mapping[str, str] | None) -> Mapping[str, str] | None:
    """The labels, with the context of the span that is current."""
    if not installed or not trace.get_current_span().get_span_context().is_valid:
        return labels
    context: dict[str, str] = {}
    propagate.inject(context)
    found = {name: context[name] for name in _FIELDS if len(context.get(name, "x" * 257)) <= _LONGEST}
    return {**found, **(labels or {})} if found else labels


@contextmanager
def handling(message: Message) -> Iterator[None]:
    """A consumer's span, a child of the one that the message was published in."""
    tracer = trace.get_tracer("scaiqueue")
    attributes: dict[str, str | int] = {
        "messaging.system": "scaiqueue",
        "messaging.operation.type": "process",
        "messaging.destination.name": message.queue,
        "messaging.message.id": message.id,
        "scaiqueue.message.type": message.type,
        "scaiqueue.message.attempt": message.attempts,
    }
    with tracer.start_as_current_span(
        f"process {message.queue}",
        context=propagate.extract(message.labels),
        kind=trace.SpanKind.CONSUMER,
        attributes=attributes,
    ):
        yield
