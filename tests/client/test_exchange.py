"""What happens when answers get lost, and what is never sent twice in effect."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

import pytest

from scaiqueue.client import Backoff, Client, ClientError, Draft, Published, Refused, Unreachable
from scaiqueue.client.batching import Batcher
from scaiqueue.client.errors import of_answer
from scaiqueue.client.memory import MemoryQueue
from scaiqueue.client.transport import Answer
from tests.eventually import eventually

QUICK = Backoff(base_s=0.0001)


class Lossy(MemoryQueue):
    """Loses the answer to every call whose turn is marked, after it was done."""

    def __init__(self, *lost: int) -> None:
        super().__init__({"s": ["q"]})
        self.lost = set(lost)
        self.calls: list[bytes | None] = []

    async def send(
        self, method: str, path: str, content: bytes | None, headers: Mapping[str, str], timeout_s: float
    ) -> Answer:
        answer = await super().send(method, path, content, headers, timeout_s)
        self.calls.append(content)
        if len(self.calls) - 1 in self.lost:
            raise Unreachable("lost")
        return answer


async def test_a_publish_whose_answer_was_lost_makes_one_message() -> None:
    client = Client(scope="s", transport=Lossy(0, 2), backoff=QUICK)
    sent = await client.publish("q", "t", 1)
    assert sent.replay
    results = await client.publish_many("q", [Draft("t", number) for number in range(2, 4)])
    assert all(isinstance(one, Published) and one.replay for one in results)
    assert [message.json() for message in await client.claim("q", 10)] == [1, 2, 3]


async def test_a_claim_and_a_complete_whose_answers_were_lost() -> None:
    client = Client(scope="s", transport=Lossy(1, 3), backoff=QUICK)
    await client.publish("q", "t", 1)
    (message,) = await client.claim("q", 10)
    assert message.attempts == 1
    assert (await client.complete(message)).state == "completed"


async def test_a_draft_is_a_template_not_a_message() -> None:
    client = Client(scope="s", transport=MemoryQueue({"s": ["q"]}))
    draft = Draft("t", 1)
    await client.publish_many("q", [draft, draft])
    await client.publish_many("q", [draft])
    assert len(await client.claim("q", 10)) == 3


async def test_attempts_end() -> None:
    transport = Lossy(*range(100))
    client = Client(scope="s", transport=transport, backoff=Backoff(attempts=3, base_s=0.0001))
    with pytest.raises(Unreachable):
        await client.publish("q", "t")
    assert len(transport.calls) == 3
    assert len(set(transport.calls)) == 1
    with pytest.raises(Unreachable):
        await client.call("POST", "/scopes", {"slug": "x", "display_name": "x"})
    assert len(transport.calls) == 4, "a call that may not be repeated was"


async def test_what_callers_share_survives_one_who_leaves() -> None:
    transport = MemoryQueue({"s": ["q"]})
    client = Client(scope="s", transport=transport, batching=True)
    leaver = asyncio.create_task(client.publish("q", "t", 1))
    stayer = asyncio.create_task(client.publish("q", "t", 2))
    await asyncio.sleep(0)
    leaver.cancel()
    await stayer
    await client.close()
    assert [message.json() for message in await client.claim("q", 10)] == [1, 2]


async def test_what_is_asked_for_as_the_last_answers_come_is_not_forgotten() -> None:
    go, under_way = asyncio.Event(), list[int]()

    async def send(items: list[int]) -> list[int]:
        under_way.extend(items)
        await go.wait()
        return items

    batcher = Batcher[int, int](send)

    async def twice(number: int) -> list[int]:
        return [await batcher.submit(number), await batcher.submit(number)]

    first = asyncio.create_task(twice(1))
    await eventually(lambda: under_way == [1])
    second = asyncio.create_task(batcher.submit(2))
    await eventually(lambda: under_way == [1, 2])
    go.set()
    assert await asyncio.gather(first, second) == [[1, 1], 2]


def test_waits() -> None:
    backoff = Backoff(attempts=4, base_s=1, max_s=5)
    passing = Refused("RATE_LIMITED", "", retryable=True, retry_after=2)
    for attempt, most in ((1, 2), (2, 4), (3, 5)):
        waits = [backoff.wait_s(attempt, passing) for _ in range(100)]
        assert all(wait is not None and 2 <= wait <= 2 + most for wait in waits)
    assert backoff.wait_s(4, passing) is None
    assert backoff.wait_s(1, Refused("RATE_LIMITED", "", retryable=True, retry_after=6)) is None
    assert backoff.wait_s(1, Refused("VALIDATION_ERROR", "")) is None


@pytest.mark.parametrize(
    ("status", "content", "kind", "retryable"),
    [
        (502, b"<html>", Unreachable, True),
        (404, b"<html>", Refused, False),
        (500, b"{}", Unreachable, True),
    ],
)
def test_what_a_gateway_says_is_no_answer(
    status: int, content: bytes, kind: type[ClientError], retryable: bool
) -> None:
    error = of_answer(status, content)
    assert type(error) is kind
    assert error.retryable is retryable


def test_a_gateway_may_say_when() -> None:
    assert of_answer(503, b"busy", "7").retry_after == 7
    assert of_answer(503, b"busy", "Wed, 21 Oct 2015 07:28:00 GMT").retry_after is None


async def test_an_answer_from_somebody_else() -> None:
    class Portal(MemoryQueue):
        async def send(
            self, method: str, path: str, content: bytes | None, headers: Mapping[str, str], timeout_s: float
        ) -> Answer:
            return Answer(200, {}, b"<html>log in</html>")

    client = Client(scope="s", transport=Portal())
    for call in (client.publish("q", "t"), client.claim("q"), client.call("GET", "/scopes/s")):
        with pytest.raises(Unreachable, match="not from the queue"):
            await call


async def test_nobody_there() -> None:
    async with Client(
        "http://127.0.0.1:1", "sgk_x", scope="s", backoff=Backoff(attempts=2, base_s=0.001)
    ) as client:
        with pytest.raises(Unreachable, match=r"no answer from http://127\.0\.0\.1:1/"):
            await client.claim("q")
