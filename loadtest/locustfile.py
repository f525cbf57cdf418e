"""Claim throughput: every user publishes a batch, then claims and completes until the queue is empty.

Run: locust --locustfile loadtest/locustfile.py --host http://127.0.0.1:8080 --headless -u 8 -r 8 -t 30s
The key comes from SCAIQUEUE_API_KEY.
"""

from __future__ import annotations

import os
from itertools import cycle
from typing import Any

from locust import FastHttpUser, constant, events, task
from locust.env import Environment

from loadtest.webhooks import load_webhooks

BASE = "/v1/modules/scaiqueue"
SCOPE, QUEUE = "loadtest", "jobs"
BATCH = 50


@events.init.add_listener
def _read_payloads(environment: Environment, **_: Any) -> None:
    environment.bodies = cycle([hook.body for hook in load_webhooks()])  # type: ignore[attr-defined]


class Worker(FastHttpUser):
    """One producer and consumer in one."""

    wait_time = constant(0)

    def on_start(self) -> None:
        self.client.auth_header = f"Bearer {os.environ['SCAIQUEUE_API_KEY']}"
        self._create("/scopes", SCOPE)
        self._create(f"/scopes/{SCOPE}/queues", QUEUE)

    def _create(self, path: str, slug: str) -> None:
        body = {"slug": slug, "display_name": slug}
        with self.client.post(BASE + path, json=body, name=f"create {slug}", catch_response=True) as answer:
            if answer.status_code in (201, 409):
                answer.success()

    @task
    def publish_claim_complete(self) -> None:
        messages = f"{BASE}/scopes/{SCOPE}/queues/{QUEUE}/messages"
        bodies = [next(self.environment.bodies) for _ in range(BATCH)]
        batch = b",".join(b'{"type":"load.webhook","body":' + body + b"}" for body in bodies)
        headers = {"Content-Type": "application/json"}
        content = b'{"messages":[' + batch + b"]}"
        self.client.post(f"{messages}/batch", data=content, headers=headers, name="publish batch")
        while True:
            claimed = self.client.post(f"{messages}/claim", json={"batch_size": BATCH}, name="claim").json()
            if not claimed["data"]:
                return
            items = [{"id": one["id"], "claim_token": one["claim_token"]} for one in claimed["data"]]
            self.client.post(
                f"{BASE}/scopes/{SCOPE}/messages/complete", json={"items": items}, name="complete batch"
            )
