"""The Python client: publish, claim, and a worker that runs handlers.

`scaiqueue.client.memory` has a queue in memory for tests, `scaiqueue.client.outbox` publishes from within a
database transaction.
"""

from scaiqueue.client.app import App
from scaiqueue.client.client import Client
from scaiqueue.client.errors import ClientError, LeaseLost, PayloadError, Refused, Unreachable
from scaiqueue.client.exchange import Backoff
from scaiqueue.client.jobs import Job
from scaiqueue.client.messages import (
    Claimed,
    Draft,
    Event,
    Message,
    Options,
    Priority,
    Published,
    Settled,
    Source,
)
from scaiqueue.client.sync import SyncClient
from scaiqueue.client.worker import Context, DeadLetter, Hooks, RetryLater, ThreadContext, Worker

__all__ = [
    "App",
    "Backoff",
    "Claimed",
    "Client",
    "ClientError",
    "Context",
    "DeadLetter",
    "Draft",
    "Event",
    "Hooks",
    "Job",
    "LeaseLost",
    "Message",
    "Options",
    "PayloadError",
    "Priority",
    "Published",
    "Refused",
    "RetryLater",
    "Settled",
    "Source",
    "SyncClient",
    "ThreadContext",
    "Unreachable",
    "Worker",
]
