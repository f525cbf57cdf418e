"""What the scripts journal ends in the rows: once, in order, whatever happens on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import msgspec
import pytest
from redis.asyncio import Redis

from scaiqueue.keys import Shard
from scaiqueue.persister.batch import gather
from scaiqueue.persister.collect import terminal_ids
from scaiqueue.persister.journal import after, decode_any
from scaiqueue.persister.service import Persister
from scaiqueue.persister.transaction import Writer
from scaiqueue.records import State, Version
from scaiqueue.recovery.remainder import carry_remainder
from tests.eventually import eventually
from tests.stack import Stack, open_stack


@pytest.fixture
async def stack(redis: Redis, database_url: str) -> AsyncIterator[Stack]:
    async with open_stack(redis, database_url) as stack:
        yield stack


@pytest.fixture
async def persister(stack: Stack) -> AsyncIterator[Persister]:
    persister = stack.persister()
    await persister.start()
    yield persister
    await persister.stop()


async def committed(persister: Persister, entry: Version, shard: int = 1) -> None:
    assert await persister.watermarks.wait(shard, entry, 20.0)


def transitions(row: dict[str, object]) -> list[list[object]]:
    return list(msgspec.json.decode("[" + str(row["history"]).rstrip(",") + "]"))


async def test_a_published_message_becomes_a_row(stack: Stack, persister: Persister) -> None:
    body = b'{"a":[],"big":12345678901234567890,"z":"\\u0000"}'
    (message_id,), entry = await stack.publish(
        body=body, correlation_id="c-1", source={"type": "crm", "id": "42"}, labels={"region": "eu"}
    )
    await committed(persister, entry)
    row = (await stack.rows())[message_id]
    assert row["body"] == body
    assert (row["tenant_id"], row["scope_id"], row["queue"]) == ("default", stack.scope_id, "orders")
    assert (row["state"], row["attempts"], row["seq"]) == (State.pending, 0, 1)
    assert (row["message_type"], row["correlation_id"], row["source_id"]) == ("order.created", "c-1", "42")
    assert msgspec.json.decode(row["header"])["labels"] == {"region": "eu"}
    assert (row["shard"], row["touched_epoch"], row["touched_n"]) == (1, *entry)
    event, queue, attempts, actor, detail, epoch, n, place, at = transitions(row)[0]
    assert (event, queue, attempts, actor, detail) == ("published", "orders", 0, "tester", "")
    assert (epoch, n, place, at) == (*entry, 0, row["created_at"])


async def test_a_whole_life_in_one_row_and_then_it_is_forgotten(stack: Stack, persister: Persister) -> None:
    ids, published = await stack.publish(5)
    await committed(persister, published)
    claimed = await stack.claim(5)
    done = await stack.complete(claimed, b'{"ok":true}')
    await committed(persister, done)
    rows = await stack.rows()
    assert set(rows) == set(ids)
    for row in rows.values():
        assert (row["state"], row["response"], row["verb"]) == (State.completed, b'{"ok":true}', "complete")
        assert [t[0] for t in transitions(row)] == ["published", "claimed", "completed"]
        assert row["history_count"] == 3
    assert await stack.position() == done

    async def forgotten() -> bool:
        return not await stack.redis.exists(stack.scope.key("state"), stack.scope.key("body"))

    await eventually(forgotten)
    limits = await stack.redis.hgetall(stack.scope.shard.limits)
    assert limits[b"published"] == limits[b"persisted"] == b"5"


async def test_entries_that_wait_are_one_batch(stack: Stack) -> None:
    """Journal first, persister after: the whole life costs one row, and one event row per entry."""
    await stack.publish(300)
    done = await stack.complete(await stack.claim(300))
    persister = stack.persister()
    await persister.start()
    await committed(persister, done)
    await persister.stop()
    rows = await stack.rows()
    assert len(rows) == 300
    assert {row["state"] for row in rows.values()} == {State.completed}
    events = await stack.all_of("events")
    assert [(e["op"], e["n"]) for e in sorted(events, key=lambda e: e["n"])] == [
        ("publish", 0),
        ("claim", 1),
        ("complete", 2),
    ]


async def test_what_the_last_owner_did_not_forget_is_forgotten_after_a_takeover(stack: Stack) -> None:
    await stack.publish(300)
    for _ in range(3):
        done = await stack.complete(await stack.claim(100))
    writer = Writer(stack.engine, stack.redis)
    await carry_remainder(stack.runner, writer, stack.scope.shard)
    await writer.close()
    assert await stack.position() == done
    left, _ = await stack.publish(2)
    assert await stack.redis.hlen(stack.scope.key("state")) == 302
    persister = stack.persister()
    await persister.start()

    async def forgotten() -> bool:
        return bool(await stack.redis.hlen(stack.scope.key("state")) == 2)

    await eventually(forgotten)
    await persister.stop()
    assert await stack.redis.hkeys(stack.scope.key("body")) == [name.encode() for name in left]


async def test_what_ends_in_an_epochs_first_entry_is_not_left_over_from_before(stack: Stack) -> None:
    ids, _ = await stack.publish()
    claimed = await stack.claim()
    shard = stack.scope.shard
    await stack.redis.set(shard.epoch, 2)
    first = await stack.complete(claimed)
    assert first == Version(2, 0)
    raws = await stack.redis.xrange(shard.journal, max=after(Version(2, -1)))
    before = gather(shard.number, [decode_any(raw) for raw in raws], 0)
    assert await terminal_ids(stack.redis, before, Version(2, -1)) == {}
    found = await terminal_ids(stack.redis, before, first)
    assert found == {stack.scope: [(ids[0], str(first))]}


async def test_messages_of_one_call_that_part_ways(stack: Stack, persister: Persister) -> None:
    """Published together, then claimed and ended by several: each row has its own history."""
    ids, _ = await stack.publish(12)
    first = await stack.claim(7, holder="worker")
    await stack.complete(first[:5], b'{"n":1}')
    await stack.complete(first[5:6], b'{"n":2}')
    done = await stack.complete(await stack.claim(1, holder="worker"))
    await committed(persister, done)
    rows = await stack.rows()
    kinds = {name: [t[0] for t in transitions(row)] for name, row in rows.items()}
    lived = ["published", "claimed", "completed"]
    assert [kinds[name] for name in ids] == [
        *[lived] * 6, ["published", "claimed"], lived, *[["published"]] * 4,
    ]  # fmt: skip
    responses = [rows[name]["response"] for name in ids]
    assert responses == [b'{"n":1}'] * 5 + [b'{"n":2}'] + [b""] * 6
    assert [rows[name]["seq"] for name in ids] == list(range(1, 13))


async def test_stop_commits_what_the_journal_holds(stack: Stack) -> None:
    persister = stack.persister()
    await persister.start()
    entries = [(await stack.publish(10))[1] for _ in range(20)]
    await persister.stop()
    assert await stack.position() == entries[-1]
    assert len(await stack.rows()) == 200
    assert not await stack.redis.exists(Shard(0).owner, Shard(1).owner)


async def test_idempotency_keys_are_kept_with_their_end(stack: Stack, persister: Persister) -> None:
    (message_id,), entry = await stack.publish(key="order-7")
    await committed(persister, entry)
    (row,) = await stack.all_of("idempotency")
    key = stack.scope.idempotency("orders", "order-7")
    assert row["key_hash"] == key.rpartition(":")[2]
    assert (row["message_id"], row["digest"], row["queue"]) == (message_id, "d" * 64, "orders")
    assert row["expires_at"] == await stack.redis.pexpiretime(key)


async def test_two_processes_share_the_shards_and_take_over(stack: Stack) -> None:
    first = stack.persister()
    second = stack.persister()
    await first.start()
    await second.start()
    await eventually(lambda: len(first.owned) == len(second.owned) == 1)
    _, entry = await stack.publish(3)
    assert await first.watermarks.wait(1, entry, 20.0)
    assert await second.watermarks.wait(1, entry, 20.0)
    await first.stop()
    await eventually(lambda: second.owned == {0, 1})
    _, entry = await stack.publish(3)
    assert await second.watermarks.wait(1, entry, 20.0)
    await second.stop()
    assert len(await stack.rows()) == 6


async def test_two_owners_at_once_do_no_harm(stack: Stack) -> None:
    """Each believes that it alone owns the shards; the position lets one of them through at a time."""
    first = stack.persister()
    await first.start()
    await stack.redis.delete(Shard(0).owner, Shard(1).owner)
    second = stack.persister()
    await second.start()
    ids: list[str] = []
    for _ in range(30):
        new, entry = await stack.publish(4)
        ids += new
    assert await second.watermarks.wait(1, entry, 20.0)
    await first.stop()
    await second.stop()
    rows = await stack.rows()
    assert set(rows) == set(ids)
    assert {row["history_count"] for row in rows.values()} == {1}


async def test_a_gap_stops_the_shard_and_calls_recovery(stack: Stack) -> None:
    called = asyncio.Event()

    async def recover() -> None:
        called.set()

    _, first = await stack.publish()
    await stack.publish()
    _, third = await stack.publish()
    await stack.redis.xdel(stack.scope.shard.journal, "1-1")
    persister = Persister(stack.redis, stack.runner, stack.engine, shards=stack.shards, recover=recover)
    await persister.start()
    await asyncio.wait_for(called.wait(), 20.0)
    await committed(persister, first)
    await persister.stop()
    assert await stack.position() == first
    assert not await persister.watermarks.wait(1, third, 0.0)


async def test_a_list_waits_for_the_journal_end(stack: Stack, persister: Persister) -> None:
    await stack.publish(10)
    assert await persister.watermarks.wait_journal_end(1)
    assert len(await stack.rows()) == 10
    await persister.stop()
    await stack.publish()
    await persister.watermarks.start()
    assert not await persister.watermarks.wait_journal_end(1, 0.3)
    await persister.watermarks.stop()


async def test_a_replay_is_sure_only_within_the_epoch_in_which_it_was_found(
    stack: Stack, persister: Persister
) -> None:
    watermarks = persister.watermarks
    await stack.publish(3)
    assert await watermarks.wait_replayed(1, 1, 20.0)
    await stack.redis.flushall()
    assert not await watermarks.wait_replayed(1, 1, 20.0)
    await stack.recovery.prepare()
    assert not await watermarks.wait_replayed(1, 1, 20.0)
    assert await watermarks.wait_replayed(1, 2, 20.0)
