"""What a client may rely on, on a real server and on the queue in memory."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from scaiqueue.client import Backoff, Draft, LeaseLost, PayloadError, Priority, Published, Refused, Source
from scaiqueue.client.leasing import Completion, Want
from tests.client.conftest import Ground
from tests.eventually import eventually


def code_of(result: Published | Refused) -> str:
    assert isinstance(result, Refused)
    return result.code


async def test_a_message_all_the_way(ground: Ground) -> None:
    client, queue = ground.client, await ground.queue()
    sent = await client.publish(
        queue,
        "order.new",
        {"order": 1},
        labels={"region": "eu"},
        correlation_id="c-1",
        source=Source("shop", "web"),
        priority=Priority("high", 900),
    )
    assert (sent.state, sent.replay) == ("pending", False)
    (message,) = await client.claim(queue)
    assert (message.id, message.type, message.attempts) == (sent.id, "order.new", 1)
    assert message.json() == {"order": 1}
    assert message.into(dict[str, int]) == {"order": 1}
    assert (message.labels, message.correlation_id, message.source_id) == ({"region": "eu"}, "c-1", "web")
    assert (message.priority_tier, message.priority_score) == ("high", 900)
    done = await client.complete(message, {"shipped": True})
    assert (done.state, done.queue) == ("completed", queue)
    shown = await client.call("GET", f"/scopes/{ground.scope}/messages/{sent.id}")
    assert (shown["state"], shown["response"], shown["claimed_by"]) == ("completed", {"shipped": True}, None)
    assert await ground.depths(queue) == (0, 0, 0)


async def test_many_succeed_or_fail_by_themselves(ground: Ground) -> None:
    client, queue = ground.client, await ground.queue()
    drafts = [
        Draft("t", 1),
        *(Draft("t", "x" * size) for size in (300_000, 9_000_000)),
        Draft("", 2),
        Draft("t", 3),
    ]
    first, large, larger, untyped, last = await client.publish_many(queue, drafts)
    assert isinstance(first, Published)
    assert isinstance(last, Published)
    assert code_of(large) == code_of(larger) == "SCAIQUEUE_MESSAGE_TOO_LARGE"
    assert code_of(untyped) == "VALIDATION_ERROR"
    assert [message.json() for message in await client.claim(queue, 10)] == [1, 3]


async def test_the_same_key_makes_one_message(ground: Ground) -> None:
    client, queue = ground.client, await ground.queue()
    first = await client.publish(queue, "t", 1, idempotency_key="k")
    again = await client.publish(queue, "t", 1, idempotency_key="k")
    assert (again.id, again.replay) == (first.id, True)
    (many,) = await client.publish_many(queue, [Draft("t", 1, idempotency_key="k")])
    assert isinstance(many, Published)
    assert (many.id, many.replay) == (first.id, True)
    with pytest.raises(Refused) as refused:
        await client.publish(queue, "t", 2, idempotency_key="k")
    assert refused.value.code == "SCAIQUEUE_IDEMPOTENCY_CONFLICT"
    assert await ground.depths(queue) == (1, 0, 0)


async def test_orders(ground: Ground) -> None:
    client = ground.client
    soon = datetime.now(UTC) + timedelta(hours=1)
    by_rank, by_deadline = await ground.queue(ordering="priority"), await ground.queue(ordering="deadline")
    for number, tier in enumerate(("low", "critical", "normal", "normal")):
        await client.publish(by_rank, "t", number, priority=tier)  # type: ignore[arg-type]
        hours = timedelta(hours=(3, 1, 2, 2)[number])
        await client.publish(by_deadline, "t", number, deadline=soon + hours)
    await client.publish(by_deadline, "t", 4)
    assert [message.json() for message in await client.claim(by_rank, 10)] == [1, 2, 3, 0]
    assert [message.json() for message in await client.claim(by_deadline, 10)] == [1, 2, 3, 0, 4]


async def test_several_queues(ground: Ground) -> None:
    client, one, two = ground.client, await ground.queue(), await ground.queue()
    for number in range(4):
        await client.publish(one if number % 2 else two, "t", number)
    oldest = await client.claim([one, two], 3, strategy="oldest")
    assert [message.json() for message in oldest] == [0, 1, 2]
    for message in oldest:
        await client.release(message)
    ordered = await client.claim([one, two], 4)
    assert [message.json() for message in ordered] == [1, 3, 0, 2]
    for message in ordered:
        await client.release(message)
    fair = await client.claim([one, two], 4, strategy="fair")
    assert {message.queue for message in fair[:2]} == {one, two}


async def test_what_is_delayed_or_outlived_is_not_handed_out(ground: Ground) -> None:
    client, queue = ground.client, await ground.queue()
    late = await client.publish(queue, "late", delay_s=0.2)
    assert late.state == "scheduled"
    short = await client.publish(queue, "short", ttl_seconds=0.05, delay_s=0.1)

    taken = await client.claim(queue, 2, wait_s=20)
    assert [message.id for message in taken] == [late.id]

    async def expired() -> bool:
        shown = await client.call("GET", f"/scopes/{ground.scope}/messages/{short.id}")
        return bool(shown["state"] == "expired")

    await eventually(expired)


async def test_failures(ground: Ground) -> None:
    client = ground.client
    queue = await ground.queue(max_retries=2, backoff={"strategy": "fixed", "base_s": 0})
    sent = await client.publish(queue, "t")
    (message,) = await client.claim(queue)
    assert (await client.fail(message, "first")).state == "pending"
    (message,) = await client.claim(queue)
    assert (message.attempts, message.failure_reason) == (2, "first")
    buried = await client.fail(message, "second")
    assert buried.queue == "_dead_letter"
    (message,) = await client.claim("_dead_letter")
    assert (message.id, message.failure_reason) == (sent.id, "second")
    assert message.origin is not None
    assert (message.origin["queue"], message.origin["reason"]) == (queue, "second")
    await client.complete(message)
    await client.publish(queue, "t", max_retries=9)
    (message,) = await client.claim(queue)
    later = await client.fail(message, retry_after_s=60)
    assert (later.state, later.ready_at is not None) == ("scheduled", True)
    await client.publish(queue, "t")
    (message,) = await client.claim(queue)
    assert (await client.fail(message, retryable=False)).queue == "_dead_letter"


async def test_release_gives_the_attempt_and_the_place_back(ground: Ground) -> None:
    client, queue = ground.client, await ground.queue()
    for number in range(2):
        await client.publish(queue, "t", number)
    (message,) = await client.claim(queue)
    assert (await client.release(message)).state == "pending"
    (message,) = await client.claim(queue)
    assert (message.json(), message.attempts) == (0, 1)
    assert (await client.release(message, delay_s=60)).state == "scheduled"
    assert [message.json() for message in await client.claim(queue, 2)] == [1]


async def test_a_holder_hears_of_a_cancel(ground: Ground) -> None:
    client, queue = ground.client, await ground.queue()
    sent = await client.publish(queue, "t")
    (message,) = await client.claim(queue)
    extended = await client.extend(message, 600)
    assert (extended.state, extended.cancel_requested) == ("claimed", False)
    assert extended.lease_expires_at is not None
    assert extended.lease_expires_at > message.lease_expires_at
    asked = await client.call("POST", f"/scopes/{ground.scope}/messages/{sent.id}/cancel")
    assert asked["cancel_requested"] is True
    assert (await client.extend(message)).cancel_requested is True
    assert (await client.fail(message)).state == "cancelled"


async def test_a_lost_lease(ground: Ground) -> None:
    client, queue = ground.client, await ground.queue()
    await client.publish(queue, "t")
    (old,) = await client.claim(queue, visibility_timeout_s=1)
    (new,) = await client.claim(queue, wait_s=10)
    assert (new.id, new.attempts) == (old.id, 2)
    for verb in (client.complete, client.fail, client.release, client.extend):
        with pytest.raises(LeaseLost):
            await verb(old)
    assert (await client.complete(new)).state == "completed"
    # Said again with the token that it succeeded with, it is answered the same again.
    assert (await client.complete(new)).state == "completed"
    with pytest.raises(Refused) as refused:
        await client.fail(new)
    assert refused.value.code == "SCAIQUEUE_INVALID_STATE"


async def test_a_repeated_claim_answers_the_same_leases(ground: Ground) -> None:
    client, queue = ground.client, await ground.queue()
    await client.publish_many(queue, [Draft("t", number) for number in range(4)])
    want = Want(queues=[queue], batch_size=2)
    first, again = await client.leases.claim(want), await client.leases.claim(want)
    assert [(one.id, one.claim_token) for one in first] == [(one.id, one.claim_token) for one in again]
    assert await ground.depths(queue) == (2, 2, 0)


async def test_finish_and_take_the_next(ground: Ground) -> None:
    client, queue = ground.client, await ground.queue()
    await client.publish_many(queue, [Draft("t", number) for number in range(3)])
    (message,) = await client.claim(queue)
    lost = Completion(message.id, "1.999999")
    settled = await client.leases.settle(
        "complete", [Completion(message.id, message.claim_token), lost], Want(queues=[queue], batch_size=5)
    )
    assert [isinstance(result, Refused) for result in settled.results] == [False, True]
    assert [one.json() for one in settled.claimed] == [1, 2]
    await client.call("POST", f"/scopes/{ground.scope}/queues/{queue}/pause")
    items = [Completion(one.id, one.claim_token) for one in settled.claimed]
    settled = await client.leases.settle("complete", items, Want(queues=[queue]))
    assert settled.claim_error is not None
    assert settled.claim_error.code == "SCAIQUEUE_QUEUE_PAUSED"
    assert [isinstance(result, Refused) for result in settled.results] == [False, False]


async def test_refusals(ground: Ground) -> None:
    client, queue = ground.client, await ground.queue(max_depth=1)
    await client.publish(queue, "t")
    for call, code, retryable in (
        (client.publish(queue, "t"), "SCAIQUEUE_QUEUE_FULL", True),
        (client.publish("missing", "t"), "SCAIQUEUE_QUEUE_NOT_FOUND", False),
        (client.publish("_dead_letter", "t"), "SCAIQUEUE_SYSTEM_QUEUE_READONLY", False),
        (client.claim("missing"), "SCAIQUEUE_QUEUE_NOT_FOUND", False),
        (client.claim(queue, 0), "VALIDATION_ERROR", False),
        (client.call("GET", "/scopes/missing/queues/q"), "SCAIQUEUE_SCOPE_NOT_FOUND", False),
        (client.call("GET", "/nowhere"), "NOT_FOUND", False),
    ):
        with pytest.raises(Refused) as refused:
            await call
        assert (refused.value.code, refused.value.retryable) == (code, retryable)
    with pytest.raises(PayloadError):
        await client.publish(queue, "t", object())
    (full,) = await client.publish_many(queue, [Draft("t")])
    assert code_of(full) == "SCAIQUEUE_QUEUE_FULL"


async def test_a_refusal_that_passes_is_waited_out(ground: Ground) -> None:
    """By one message and by items of many, with the keys that they had."""
    queue = await ground.queue(max_depth=1)
    patient = ground.another(backoff=Backoff(attempts=1000, base_s=0.01, max_s=1.5))
    await ground.client.publish(queue, "t", 0)
    one = asyncio.create_task(patient.publish(queue, "t", 1))
    many = asyncio.create_task(patient.publish_many(queue, [Draft("t", 2), Draft("t", 3)]))
    seen: list[int] = []

    async def all_seen() -> bool:
        for message in await ground.client.claim(queue, 1):
            seen.append(message.json())
            await ground.client.complete(message)
        return len(seen) == 4

    await eventually(all_seen, timeout=60)
    assert isinstance(await one, Published)
    assert all(isinstance(result, Published) for result in await many)
    assert sorted(seen) == [0, 1, 2, 3]


async def test_a_long_poll_hears_of_a_publish(ground: Ground) -> None:
    client, queue = ground.client, await ground.queue()
    waiting = asyncio.create_task(client.claim(queue, wait_s=20))
    sent = await ground.another().publish(queue, "t")
    assert [message.id for message in await waiting] == [sent.id]


async def test_content_that_is_no_json(ground: Ground) -> None:
    client, queue = ground.client, await ground.queue()
    await client.publish(queue, "t", b"\x00\xff", content_type="image/png")
    (message,) = await client.claim(queue)
    assert (message.content_type, message.content()) == ("image/png", b"\x00\xff")
    await client.publish(queue, "t", {"n": 1})
    (message,) = await client.claim(queue)
    assert message.content() == b'{"n":1}'


async def test_calls_made_together_share_requests(ground: Ground) -> None:
    queue = await ground.queue()
    client = ground.another(batching=True, backoff=Backoff(attempts=1))
    sent = await asyncio.gather(*(client.publish(queue, "t", number) for number in range(40)))
    assert len({one.id for one in sent}) == 40
    bad = client.publish(queue, "", None)
    good, refused = await asyncio.gather(client.publish(queue, "t", 40), bad, return_exceptions=True)
    assert isinstance(good, Published)
    assert isinstance(refused, Refused)
    messages = await client.claim(queue, 41)
    assert [message.json() for message in messages] == list(range(41))
    lost, *rest = messages
    await client.complete(lost)
    lost.claim_token = "1.999999"
    ended = await asyncio.gather(*(client.complete(one) for one in (*rest, lost)), return_exceptions=True)
    assert isinstance(ended[-1], LeaseLost)
    assert not any(isinstance(one, BaseException) for one in ended[:-1])
    assert await ground.depths(queue) == (0, 0, 0)
