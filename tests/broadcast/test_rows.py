"""Copies in the rows: one body for all of them, which comes back with the index and stays as long as it is
needed."""

from __future__ import annotations

import time
from typing import Any

from redis.asyncio import Redis
from uuid_utils import uuid7

from scaiqueue.integrity.kinds import Kind
from scaiqueue.keys import DEAD_LETTER
from scaiqueue.moments import now_ms
from scaiqueue.queueing.backfill import Backfiller
from scaiqueue.queueing.configuration import copies_settings
from scaiqueue.queueing.configure import Configurator
from scaiqueue.queueing.directory import Directory
from scaiqueue.records import decode_record
from scaiqueue.rows import messages, queues, retention, scopes, subscriptions
from scaiqueue.rows.queues import QueueRow, QueueSettings, encode_settings
from scaiqueue.rows.subscriptions import SubscriptionRow
from scaiqueue.rows.tables import message_archive
from scaiqueue.rows.tables import messages as message_table
from scaiqueue.scripts import binding
from scaiqueue.scripts.binding import FailItem
from tests.integrity.conftest import Checked, open_checked
from tests.recovery.test_recovery import persisting
from tests.stack import Stack, open_stack

BODY = b'{"text":"' + b"x" * 2000 + b'"}'


async def newsroom(stack: Stack, *names: str) -> None:
    """The broadcast queue `news` with subscriptions; may be called again for more."""
    scope, now = await scopes.find(stack.engine, "default", stack.scope_id), now_ms()
    assert scope is not None

    def queue(slug: str, id: str, settings: QueueSettings) -> QueueRow:
        return QueueRow(
            id=id, tenant_id="default", scope_id=scope.id, slug=slug, display_name=slug, description="",
            state="active", settings=encode_settings(settings), version=1, created_at=now, updated_at=now,
        )  # fmt: skip

    news = await queues.find(stack.engine, scope.id, "news")
    if news is None:
        news = queue("news", str(uuid7()), QueueSettings(consumer_mode="broadcast"))
        await queues.create(stack.engine, news)
    configurator = Configurator(stack.runner)
    held = [news]
    for name in names:
        row = SubscriptionRow(
            id=str(uuid7()), tenant_id="default", scope_id=scope.id, queue="news", name=name,
            slug=f"news.{name}", filter="{}", start="latest", delivery="pull", dedup_window_s=60,
            state="active", fill_before=-1, filled_to="", filled=0, version=1, created_at=now, updated_at=now,
        )  # fmt: skip
        held.append(queue(row.slug, row.id, copies_settings(news)))
        assert await subscriptions.create(stack.engine, row, held[-1], 10) is not None
    await configurator.apply(scope, held)
    found = await subscriptions.roster(stack.engine, scope.id, "news")
    await configurator.subscribe(stack.scope.queue("news"), found)


async def by_queue(stack: Stack) -> dict[str, dict[str, Any]]:
    """Rows by their queues, where each has one."""
    return {row["queue"]: row for row in (await stack.rows()).values()}


async def test_rows_of_copies_have_no_body_and_read_as_if_they_had(redis: Redis, database_url: str) -> None:
    async with open_stack(redis, database_url) as stack, persisting(stack) as persister:
        await newsroom(stack, "a", "b")
        (id,), entry = await stack.publish(queue="news", body=BODY, key="k")
        assert await persister.watermarks.wait(1, entry, 20.0)
        rows = await by_queue(stack)
        assert [len(rows[queue]["body"]) for queue in ("news", "news.a", "news.b")] == [len(BODY), 0, 0]
        assert {row["message_type"] for row in rows.values()} == {"order.created"}
        copies = {row["message_id"]: row["parent_id"] for row in await stack.all_of("copies")}
        assert copies == {rows["news.a"]["id"]: id, rows["news.b"]["id"]: id}
        found = await messages.find(stack.engine, stack.scope_id, rows["news.a"]["id"])
        assert found is not None
        assert (found.body, found.record.parent(found.id)) == (BODY, id)
        keys = {row["queue"]: row["message_id"] for row in await stack.all_of("idempotency")}
        assert keys == {"news": id, **{queue: rows[queue]["id"] for queue in ("news.a", "news.b")}}


async def test_everything_comes_back_from_the_rows(redis: Redis, database_url: str) -> None:
    async with open_stack(redis, database_url) as stack, persisting(stack) as persister:
        await newsroom(stack, "a", "b")
        (first,), _ = await stack.publish(queue="news", body=BODY)
        (second,), _ = await stack.publish(queue="news", body=b"2", key="k")
        (done,) = await stack.claim(queue="news.a")
        await stack.complete([done])
        (dead,) = await stack.claim(queue="news.b")
        item = FailItem(dead.id, dead.token, "worker", "no", 0)
        entry = (await binding.fail(stack.runner, stack.scope, [item])).entry
        assert entry is not None
        assert await persister.watermarks.wait(1, entry, 20.0)
        await stack.redis.flushall()
        await stack.recovery.prepare()
        shares = await stack.redis.hgetall(stack.scope.key("shares"))
        assert {id.decode(): int(n) for id, n in shares.items()} == {first: 1, second: 2}
        await stack.publish(queue="news", body=b"3")
        claimed = [await stack.claim(10, queue=queue) for queue in ("news.a", "news.b", DEAD_LETTER)]
        bodies = [[message.envelope.partition(b"\n")[2] for message in lease] for lease in claimed]
        assert bodies == [[b"2", b"3"], [b"2", b"3"], [BODY]]
        assert claimed[2][0].id == dead.id
        seen = await stack.redis.get(stack.scope.idempotency("news.a", "k"))
        assert seen is not None
        assert seen.split()[0] == claimed[0][0].id


async def test_the_checker_finds_nothing_and_repairs_a_lost_copy(redis: Redis, sqlite_url: str) -> None:
    async with open_checked(redis, sqlite_url) as checked:
        stack = checked.stack
        await newsroom(stack, "a", "b")
        await stack.publish(3, queue="news", body=BODY)
        await checked.settled()
        assert await checked.check() == []
        lost = await stack.claim(queue="news.a")
        await checked.settled()
        await _lose(checked, lost[0].id)
        found = await checked.check()
        assert [one.kind for one in found] == [Kind.not_indexed]
        await checked.repair(found)
        await checked.settled()
        assert await checked.check() == []
        assert len(await stack.claim(10, queue="news.a")) == 3


async def _lose(checked: Checked, id: bytes) -> None:
    """A copy's record and place, as if Redis had never had them."""
    scope = checked.stack.scope
    raw = await checked.stack.redis.hget(scope.key("state"), id)
    assert raw is not None
    await checked.stack.redis.hdel(scope.key("state"), id)
    await checked.stack.redis.zrem(scope.queue("news.a").key("claimed"), id)
    await checked.stack.redis.hincrby(scope.key("shares"), decode_record(raw).shared, -1)


async def test_a_body_is_kept_until_the_last_copy_is_gone(redis: Redis, database_url: str) -> None:
    async with open_stack(redis, database_url) as stack, persisting(stack) as persister:
        await newsroom(stack, "a", "slow")
        (id,), _ = await stack.publish(queue="news", body=BODY)
        (quick,) = await stack.claim(queue="news.a")
        entry = await stack.complete([quick])
        assert await persister.watermarks.wait(1, entry, 20.0)
        later = int(time.time() * 1000) + 60_000
        ids = [row["id"] for row in (await stack.rows()).values()]
        assert await retention.move_to_archive(stack.engine, ids, retention.TERMINAL, later) == 2

        async def remove(queue: str) -> int:
            place = (stack.scope_id, queue, later, 10)
            return sum(
                [
                    await retention.remove_terminal(stack.engine, table, *place)
                    for table in (message_table, message_archive)
                ]
            )

        assert await remove("news") == 0
        assert await remove("news.a") == 1
        assert await remove("news") == 0
        (slow,) = await stack.claim(queue="news.slow")
        found = await messages.find(stack.engine, stack.scope_id, slow.id.decode())
        assert found is not None
        assert found.body == BODY
        entry = await stack.complete([slow])
        assert await persister.watermarks.wait(1, entry, 20.0)
        assert (await remove("news.slow"), await remove("news")) == (1, 1)
        assert await stack.all_of("copies") == []
        assert await messages.find(stack.engine, stack.scope_id, id) is None


async def test_a_fill_that_is_taken_up_again_copies_nothing_twice(redis: Redis, database_url: str) -> None:
    async with open_stack(redis, database_url) as stack, persisting(stack) as persister:
        await newsroom(stack)
        ids = [(await stack.publish(queue="news", body=b"%d" % n))[0][0] for n in range(4)]
        _, entry = await stack.publish(queue="news", body=b"4", ttl_ms=1)
        assert await persister.watermarks.wait(1, entry, 20.0)
        live = [row["id"] for row in (await stack.rows()).values()]
        await retention.move_to_archive(stack.engine, live[:2], retention.TERMINAL, now_ms() + 60_000)
        await newsroom(stack, "late")
        (after,), _ = await stack.publish(queue="news", body=b"5")
        row = await subscriptions.find(stack.engine, stack.scope_id, "news", "late")
        assert row is not None
        directory, configurator = Directory(stack.engine), Configurator(stack.runner)
        backfiller = Backfiller(stack.runner, stack.engine, persister.watermarks, directory, configurator)
        done: list[str] = []
        for _ in range(2):
            # The second time as one that had been left by its runner before it could note how far it was.
            await subscriptions.change(
                stack.engine, row, state="filling", fill_before=-1, filled_to="", filled=0
            )
            filling = await subscriptions.find(stack.engine, stack.scope_id, "news", "late")
            assert filling is not None
            await backfiller.begin(filling)
            filled = await subscriptions.find(stack.engine, stack.scope_id, "news", "late")
            assert filled is not None
            assert filled.state == "active"
            done.append(str(filled.filled))
            claimed = await stack.claim(10, queue="news.late")
            if claimed:
                assert [decode_record(message.record).shared for message in claimed] == [*ids, after]
                assert await persister.watermarks.wait(1, await stack.complete(claimed), 20.0)
        assert (done, await stack.claim(10, queue="news.late")) == (["4", "0"], [])
