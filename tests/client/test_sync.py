"""The client without an event loop."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from scaiqueue.client import Draft, Refused, SyncClient
from scaiqueue.client.memory import MemoryQueue
from tests.api.conftest import FIRST_KEY, ApiServer


@pytest.fixture(params=["server", "memory"])
def client(request: pytest.FixtureRequest) -> SyncClient:
    if request.param == "memory":
        return SyncClient(scope="sync", transport=MemoryQueue())
    server: ApiServer = request.getfixturevalue("api_servers")[0]
    return SyncClient(server.url, FIRST_KEY, scope="sync")


def test_every_verb(client: SyncClient) -> None:
    with client:
        client.call("POST", "/scopes", {"slug": "sync", "display_name": "Sync"})
        client.call("POST", "/scopes/sync/queues", {"slug": "q", "display_name": "Q"})
        sent = client.publish("q", "t", {"n": 0}, labels={"a": "b"})
        client.publish_many("q", [Draft("t", {"n": number}) for number in range(1, 4)])
        first, second, third, fourth = client.claim("q", 10, wait_s=1)
        assert (first.id, first.labels) == (sent.id, {"a": "b"})
        assert client.extend(first, 60).state == "claimed"
        assert client.complete(first, 1).state == "completed"
        assert client.fail(second, "no", retry_after_s=60).state == "scheduled"
        assert client.release(third).state == "pending"
        assert client.release(fourth, delay_s=60).state == "scheduled"
        with pytest.raises(Refused, match="SCAIQUEUE_QUEUE_NOT_FOUND"):
            client.publish("missing", "t")
    client.close()


def test_threads_share_it() -> None:
    """Their calls run side by side: one waits for what another publishes."""
    with SyncClient(scope="s", transport=MemoryQueue({"s": ["q"]}), batching=True) as client:
        asking = threading.Event()

        def wait() -> int:
            asking.set()
            (message,) = client.claim("q", wait_s=20)
            return int(message.json())

        with ThreadPoolExecutor(2) as threads:
            waiting = threads.submit(wait)
            asking.wait()
            threads.submit(client.publish, "q", "t", 7)
            assert waiting.result() == 7
