"""Runs the handlers of an app."""

from scaiqueue.client.worker.context import Context, ThreadContext
from scaiqueue.client.worker.hooks import Hooks
from scaiqueue.client.worker.outcomes import DeadLetter, RetryLater
from scaiqueue.client.worker.worker import Worker

__all__ = ["Context", "DeadLetter", "Hooks", "RetryLater", "ThreadContext", "Worker"]
