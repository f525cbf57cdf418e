"""Waiting for one message, and events of a scope, on a real server and on the queue in memory."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from scaiqueue.client import Published
from tests.client.conftest import Ground


async def test_waiting_for_the_end_of_a_message(ground: Ground) -> None:
    client, queue = ground.client, await ground.queue()
    sent = await client.publish(queue, "t")
    unfinished = await client.wait(sent, 0)
    assert unfinished.state == "pending"
    waiting = asyncio.create_task(client.wait(sent, 30))
    (message,) = await client.claim(queue)
    await client.complete(message, {"n": 1})
    assert (await waiting).answer() == {"n": 1}
    buried = await client.publish(queue, "t")
    (message,) = await client.claim(queue)
    await client.fail(message, "no", retryable=False)
    found = await client.wait(buried.id)
    assert (found.queue, found.failure_reason) == ("_dead_letter", "no")


async def test_events_go_on_where_they_broke_off(ground: Ground) -> None:
    client, queue = ground.client, await ground.queue()
    sent: Published = await client.publish(queue, "t", correlation_id="c")
    async with aclosing(client.subscribe("scaiqueue.message.*", after="0")) as events:
        first = await anext(events)
    assert (first.event_type, first.payload["message_id"]) == ("scaiqueue.message.published", sent.id)
    assert first.payload["correlation_id"] == "c"
    (message,) = await client.claim(queue)
    await client.complete(message, 7)
    async with aclosing(client.subscribe("scaiqueue.message.completed", after=first.place)) as events:
        event = await anext(events)
    assert (event.payload["message_id"], event.payload["response"]) == (sent.id, 7)
