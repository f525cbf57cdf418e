"""Producers, consumers, and both at once, over HTTP; one message a call, or batches.

`python -m loadtest.load` runs it on a private ScaiQueue. By hand:
locust -f loadtest/locustfile.py --host http://127.0.0.1:8080 MixedBatch
with the key in SCAIQUEUE_API_KEY. LOAD_RATE is the calls a second that each user starts, whatever the answers
do (0: as fast as answers come); LOAD_BATCH the size of batches; LOAD_COUNTS a file for the counts at the end.
"""

from __future__ import annotations

import os
import time
from itertools import cycle
from pathlib import Path
from typing import Any

import msgspec
from locust import FastHttpUser, constant, constant_throughput, events, task
from locust.env import Environment

from loadtest.webhooks import load_webhooks

BASE = "/v1/modules/scaiqueue"
SCOPE, QUEUE = "loadtest", "jobs"
MESSAGES = f"{BASE}/scopes/{SCOPE}/queues/{QUEUE}/messages"
COMPLETE = f"{BASE}/scopes/{SCOPE}/messages/complete"
BATCH = int(os.environ.get("LOAD_BATCH", "100"))
RATE = float(os.environ.get("LOAD_RATE", "0"))
_JSON = {"Content-Type": "application/json"}


class Counts(msgspec.Struct):
    """Messages of the whole run, and when the first and the last answer came that moved any."""

    published: int = 0
    claimed: int = 0
    completed: int = 0
    first: float = 0.0
    last: float = 0.0

    def add(self, name: str, number: int) -> None:
        setattr(self, name, getattr(self, name) + number)
        if number:
            self.last = time.time()
            self.first = self.first or self.last


counts = Counts()
_bodies = cycle([b'{"type":"load.webhook","body":' + hook.body + b"}" for hook in load_webhooks()])


@events.quitting.add_listener
def _write_counts(environment: Environment, **_: Any) -> None:
    if file := os.environ.get("LOAD_COUNTS"):
        Path(file).write_bytes(msgspec.json.encode(counts))


class _User(FastHttpUser):
    abstract = True
    wait_time = constant_throughput(RATE) if RATE else constant(0)

    def on_start(self) -> None:
        self.client.auth_header = f"Bearer {os.environ['SCAIQUEUE_API_KEY']}"

    def publish(self, number: int) -> None:
        if number == 1:
            path, content = MESSAGES, next(_bodies)
        else:
            path = f"{MESSAGES}/batch"
            content = b'{"messages":[' + b",".join(next(_bodies) for _ in range(number)) + b"]}"
        with self.client.post(
            path, data=content, headers=_JSON, name=f"publish {number}", catch_response=True
        ) as answer:
            if answer.status_code < 300:
                counts.add("published", number)

    def claim(self, number: int) -> list[dict[str, Any]]:
        body = {"batch_size": number}
        with self.client.post(
            f"{MESSAGES}/claim", json=body, name=f"claim {number}", catch_response=True
        ) as answer:
            held: list[dict[str, Any]] = answer.json()["data"] if answer.status_code == 200 else []
        counts.add("claimed", len(held))
        return held

    def complete(self, held: list[dict[str, Any]]) -> None:
        if not held:
            return
        items = [{"id": one["id"], "claim_token": one["claim_token"]} for one in held]
        with self.client.post(
            COMPLETE, json={"items": items}, name="complete", catch_response=True
        ) as answer:
            if answer.status_code == 200:
                lost = [item for item in answer.json()["data"] if "error" in item]
                counts.add("completed", len(items) - len(lost))
                if lost:
                    answer.failure(f"{len(lost)} items: {lost[0]['error']['code']}")


class ProducerSingle(_User):
    @task
    def work(self) -> None:
        self.publish(1)


class ProducerBatch(_User):
    @task
    def work(self) -> None:
        self.publish(BATCH)


class ConsumerSingle(_User):
    @task
    def work(self) -> None:
        self.complete(self.claim(1))


class ConsumerBatch(_User):
    @task
    def work(self) -> None:
        self.complete(self.claim(BATCH))


class MixedSingle(_User):
    """Publishes one, and takes and finishes one."""

    @task
    def work(self) -> None:
        self.publish(1)
        self.complete(self.claim(1))


class MixedBatch(_User):
    """Publishes a batch, and takes and finishes one."""

    @task
    def work(self) -> None:
        self.publish(BATCH)
        self.complete(self.claim(BATCH))
