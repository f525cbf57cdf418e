"""Divergences to be found: each is planted in an index and rows that agree."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import delete, update
from uuid_utils import uuid7

from scaiqueue.integrity.judge import FORGOTTEN_WITHIN_MS
from scaiqueue.integrity.kinds import Kind
from scaiqueue.records import decode_record, encode_record
from scaiqueue.rows.tables import journal_positions, messages
from tests.eventually import eventually
from tests.integrity.conftest import Checked
from tests.stack import Stack

Planter = Callable[[Checked], Awaitable[object]]
PLANTS: list[Plant] = []


@dataclass(frozen=True)
class Plant:
    """`clean`: nothing is left to find after the repair. `persisting`: the persister runs meanwhile."""

    name: str
    kinds: frozenset[Kind]
    plant: Planter
    clean: bool
    persisting: bool


def plant(*kinds: Kind, clean: bool = True, persisting: bool = True) -> Callable[[Planter], Planter]:
    def register(planter: Planter) -> Planter:
        name = planter.__name__.strip("_")
        PLANTS.append(Plant(name, frozenset(kinds), planter, clean, persisting))
        return planter

    return register


def _key(stack: Stack, name: str, queue: str = "orders") -> str:
    return stack.scope.queue(queue).key(name)


async def _one(checked: Checked, **options: Any) -> str:
    """A message that index and rows agree on."""
    (message_id,), _ = await checked.stack.publish(**options)
    await checked.settled()
    return message_id


async def _row(stack: Stack, message_id: str, **values: Any) -> None:
    async with stack.engine.begin() as conn:
        await conn.execute(update(messages).where(messages.c.id == message_id).values(**values))


async def _position(stack: Stack, **values: Any) -> None:
    async with stack.engine.begin() as conn:
        here = journal_positions.c.shard == stack.shard_number
        await conn.execute(update(journal_positions).where(here).values(**values))


@plant(Kind.unreadable, clean=False)
async def a_record_of_noise(checked: Checked) -> None:
    stack, message_id = checked.stack, await _one(checked)
    await stack.redis.hset(stack.scope.key("state"), message_id, b"\xc1")


@plant(Kind.unplaced)
async def live_and_in_no_set(checked: Checked) -> None:
    message_id = await _one(checked)
    await checked.stack.redis.zrem(_key(checked.stack, "pending"), message_id)


@plant(Kind.unplaced)
async def claimed_and_in_no_set(checked: Checked) -> None:
    message_id = await _one(checked)
    await checked.stack.claim()
    await checked.settled()
    await checked.stack.redis.zrem(_key(checked.stack, "claimed"), message_id)


@plant(Kind.misplaced)
async def in_two_sets(checked: Checked) -> None:
    message_id = await _one(checked)
    soon = time.time() * 1000 + 600_000
    await checked.stack.redis.zadd(_key(checked.stack, "scheduled"), {message_id: soon})
    await checked.stack.redis.zadd(
        checked.stack.scope.shard.due, {checked.stack.scope.queue("orders").root: soon}
    )


@plant(Kind.misplaced)
async def in_another_queues_set(checked: Checked) -> None:
    message_id = await _one(checked)
    await checked.stack.redis.zadd(_key(checked.stack, "pending", "urgent"), {message_id: 1})


@plant(Kind.lease_without_claim)
async def a_lease_on_what_is_pending(checked: Checked) -> None:
    message_id = await _one(checked)
    await _lease(checked, message_id)


@plant(Kind.lease_without_claim)
async def a_lease_on_nothing(checked: Checked) -> None:
    await _lease(checked, str(uuid7()))


async def _lease(checked: Checked, message_id: str) -> None:
    stack, end = checked.stack, time.time() * 1000 + 600_000
    await stack.redis.zadd(_key(stack, "claimed"), {message_id: end})
    await stack.redis.zadd(stack.scope.shard.due, {stack.scope.queue("orders").root: end})


@plant(Kind.unknown_member)
async def a_member_without_a_record(checked: Checked) -> None:
    await checked.stack.redis.zadd(_key(checked.stack, "pending"), {str(uuid7()): 1})


@plant(Kind.wrong_score)
async def a_wrong_place_in_fifo(checked: Checked) -> None:
    message_id = await _one(checked)
    await checked.stack.redis.zadd(_key(checked.stack, "pending"), {message_id: 4711})


@plant(Kind.wrong_score)
async def a_lower_rank_than_it_has(checked: Checked) -> None:
    message_id = await _one(checked, queue="urgent")
    await checked.stack.redis.zincrby(_key(checked.stack, "pending", "urgent"), 2**40, message_id)


@plant(Kind.wrong_expiry)
async def nothing_would_expire_it(checked: Checked) -> None:
    (message_id,), _ = await checked.stack.publish(ttl_ms=600_000)
    await checked.settled()
    await checked.stack.redis.zrem(_key(checked.stack, "expiry"), message_id)


@plant(Kind.body_missing)
async def without_its_body(checked: Checked) -> None:
    message_id = await _one(checked)
    await checked.stack.redis.hdel(checked.stack.scope.key("body"), message_id)


@plant(Kind.part_missing, clean=False)
async def without_its_outcome(checked: Checked) -> None:
    message_id = await _one(checked)
    await checked.stack.fail(await checked.stack.claim(), retry_after_ms=600_000)
    await checked.settled()
    assert await checked.stack.redis.hdel(checked.stack.scope.key("outcome"), message_id)


for _part in ("body", "overlay", "outcome"):

    async def _orphan(checked: Checked, part: str = _part) -> None:
        await checked.stack.redis.hset(checked.stack.scope.key(part), str(uuid7()), b"left over")

    _orphan.__name__ = f"{_part}_of_nobody"
    plant(Kind.part_orphan)(_orphan)


@plant(Kind.queue_unknown, clean=False)
async def a_queue_without_settings(checked: Checked) -> None:
    await _one(checked)
    await checked.stack.redis.delete(_key(checked.stack, "meta"))


@plant(Kind.due_missing)
async def not_in_the_due_index(checked: Checked) -> None:
    await _one(checked, delay_ms=600_000)
    await checked.stack.redis.delete(checked.stack.scope.shard.due)


@plant(Kind.due_missing)
async def too_late_in_the_due_index(checked: Checked) -> None:
    await _one(checked, delay_ms=600_000)
    queue = checked.stack.scope.queue("orders")
    await checked.stack.redis.zincrby(checked.stack.scope.shard.due, 1, queue.root)


@plant(Kind.due_stale)
async def overdue_with_nothing_due(checked: Checked) -> None:
    queue = checked.stack.scope.queue("orders")
    await checked.stack.redis.zadd(checked.stack.scope.shard.due, {queue.root: 1000})


@plant(Kind.due_stale)
async def overdue_for_a_queue_that_is_gone(checked: Checked) -> None:
    queue = checked.stack.scope.queue("gone")
    await checked.stack.redis.zadd(checked.stack.scope.shard.due, {queue.root: 1000})


@plant(Kind.seq_behind)
async def a_publish_counter_that_went_back(checked: Checked) -> None:
    await _one(checked)
    await checked.stack.redis.hset(checked.stack.scope.key("meta"), "seq", 0)


@plant(Kind.token_behind)
async def a_token_counter_that_went_back(checked: Checked) -> None:
    await _one(checked)
    await checked.stack.claim()
    await checked.settled()
    await checked.stack.redis.hset(checked.stack.scope.key("meta"), "token", 0)


@plant(Kind.not_forgotten)
async def ended_and_never_forgotten(checked: Checked) -> None:
    stack, message_id = checked.stack, await _one(checked)
    claimed = await stack.claim()
    await checked.settled()
    await checked.stop()
    await stack.complete(claimed)
    ended = decode_record(await stack.redis.hget(stack.scope.key("state"), message_id) or b"")
    ended.updated_at -= FORGOTTEN_WITHIN_MS + 1000
    body = await stack.redis.hget(stack.scope.key("body"), message_id)
    await checked.start()

    async def forgotten() -> bool:
        return not await stack.redis.hexists(stack.scope.key("state"), message_id)

    await eventually(forgotten)
    await stack.redis.hset(stack.scope.key("state"), message_id, encode_record(ended))
    await stack.redis.hset(stack.scope.key("body"), message_id, body)


@plant(Kind.not_indexed)
async def a_live_row_that_is_not_in_the_index(checked: Checked) -> None:
    stack, message_id = checked.stack, await _one(checked)
    for name in ("state", "body"):
        await stack.redis.hdel(stack.scope.key(name), message_id)
    await stack.redis.zrem(_key(stack, "pending"), message_id)


@plant(Kind.not_indexed)
async def a_claimed_row_that_is_not_in_the_index(checked: Checked) -> None:
    stack, message_id = checked.stack, await _one(checked)
    await stack.claim()
    await checked.settled()
    for name in ("state", "body"):
        await stack.redis.hdel(stack.scope.key(name), message_id)
    await stack.redis.zrem(_key(stack, "claimed"), message_id)


@plant(Kind.row_missing)
async def committed_without_a_row(checked: Checked) -> None:
    message_id = await _one(checked)
    async with checked.stack.engine.begin() as conn:
        await conn.execute(delete(messages).where(messages.c.id == message_id))


@plant(Kind.row_behind)
async def a_row_older_than_its_committed_version(checked: Checked) -> None:
    message_id = await _one(checked)
    await checked.stack.claim()
    await checked.settled()
    await _row(checked.stack, message_id, touched_n=0, state=2, attempts=0)


@plant(Kind.row_differs)
async def a_row_that_says_something_else(checked: Checked) -> None:
    message_id = await _one(checked)
    await _row(checked.stack, message_id, attempts=3)


@plant(Kind.index_behind, clean=False)
async def a_row_newer_than_its_record(checked: Checked) -> None:
    message_id = await _one(checked)
    await _row(checked.stack, message_id, touched_n=10_000)


@plant(Kind.key_orphan)
async def a_key_that_answers_for_nobody(checked: Checked) -> None:
    stack = checked.stack
    key = stack.scope.idempotency("orders", "order-1")
    await stack.redis.set(key, f"{uuid7()} {'d' * 64}", px=600_000)


@plant(Kind.epoch_differs, clean=False, persisting=False)
async def epochs_that_differ(checked: Checked) -> None:
    await _position(checked.stack, epoch=7)


@plant(Kind.position_beyond, clean=False, persisting=False)
async def rows_beyond_the_journal(checked: Checked) -> None:
    await _position(checked.stack, n=10_000)


@plant(Kind.journal_gap, clean=False, persisting=False)
async def an_entry_that_is_gone(checked: Checked) -> None:
    stack = checked.stack
    _, first = await stack.publish()
    await stack.publish()
    await stack.redis.xdel(stack.scope.shard.journal, str(first))


@plant(Kind.position_stuck, clean=False, persisting=False)
async def an_old_entry_that_nobody_commits(checked: Checked) -> None:
    stack = checked.stack
    entry = {"op": "publish", "s": stack.scope.root, "at": 1000, "ev": msgspec.msgpack.encode([])}
    await stack.redis.xadd(stack.scope.shard.journal, entry, id="1-*")
