"""Deliveries to real receivers that fail, hang, answer slowly, are killed."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import web
from redis.asyncio import Redis
from sqlalchemy import select, update
from uuid_utils import uuid7

from scaiqueue.moments import now_ms
from scaiqueue.persister.tasks import cancel_all
from scaiqueue.rows import webhooks as rows
from scaiqueue.rows.engine import reading
from scaiqueue.rows.event_tables import webhook_deliveries, webhooks
from scaiqueue.rows.webhooks import WebhookRow
from scaiqueue.settings import Settings
from scaiqueue.webhooks.deliverer import Deliverer
from scaiqueue.webhooks.sender import Sender
from tests.events.conftest import Call, Receiver
from tests.eventually import eventually
from tests.stack import Stack, open_stack

PUBLISHED = ["scaiqueue.message.published"]
QUICK = 10


class Site:
    """A stack whose journal is carried into the rows, and one webhook."""

    def __init__(self, stack: Stack, receiver: Receiver) -> None:
        self.stack = stack
        self.receiver = receiver
        self.webhook_id = str(uuid7())

    async def add_webhook(self, **fields: Any) -> None:
        now = now_ms()
        values: dict[str, Any] = {
            "id": self.webhook_id, "tenant_id": "default", "scope_id": "", "queue": "",
            "url": self.receiver.url, "events": '["*"]', "secret": self.receiver.secret, "max_retries": 5,
            "description": "", "enabled": True, "disabled_reason": "", "failing_since": 0,
            "created_at": now, "updated_at": now, **fields,
        }  # fmt: skip
        if isinstance(values["events"], list):
            values["events"] = msgspec.json.encode(values["events"]).decode()
        assert await rows.create(self.stack.engine, WebhookRow(**values), None)

    async def webhook(self) -> WebhookRow:
        found = await rows.find(self.stack.engine, "default", self.webhook_id)
        assert found is not None
        return found

    async def deliveries(self) -> list[Any]:
        """In the order of events."""
        c = webhook_deliveries.c
        async with reading(self.stack.engine) as conn:
            return list(await conn.execute(select(webhook_deliveries).order_by(c.epoch, c.n, c.part)))

    async def states(self) -> list[str]:
        return [row.state for row in await self.deliveries()]

    @asynccontextmanager
    async def worker(
        self, answer_within_s: float = 10.0, **settings: Any
    ) -> AsyncIterator[asyncio.Task[None]]:
        """Delivers, as a worker process does."""
        given = {"webhook_private_networks": "127.0.0.0/8", "webhook_retry_base_ms": QUICK, **settings}
        known = Settings(shards=self.stack.shards, **given)
        sender = Sender(known, answer_within_s)
        deliverer = Deliverer(known, self.stack.redis, self.stack.engine, sender)
        task = asyncio.create_task(deliverer.run())
        try:
            yield task
        finally:
            # Asked until it ends: a query that is cut off may take one request to end for its own.
            await cancel_all([task])


@asynccontextmanager
async def open_site(redis: Redis, database_url: str, receiver: Receiver) -> AsyncIterator[Site]:
    async with open_stack(redis, database_url) as stack:
        persister = stack.persister()
        await persister.start()
        try:
            yield Site(stack, receiver)
        finally:
            await persister.stop()


@pytest.fixture
async def site(redis: Redis, sqlite_url: str, receiver: Receiver) -> AsyncIterator[Site]:
    async with open_site(redis, sqlite_url, receiver) as found:
        yield found


def by_message(receiver: Receiver) -> dict[str, list[str]]:
    """Types in the order in which they came, without what was sent again."""
    found: dict[str, list[str]] = {}
    seen: set[str] = set()
    for call in receiver.calls:
        if call.event["event_id"] not in seen:
            seen.add(call.event["event_id"])
            types = found.setdefault(call.event["payload"]["message_id"], [])
            types.append(call.event["event_type"].rpartition(".")[2])
    return found


async def test_every_event_is_delivered_in_order_for_each_message(
    redis: Redis, database_url: str, receiver: Receiver
) -> None:
    async with open_site(redis, database_url, receiver) as site:
        await site.stack.publish(3)  # before the webhook
        await eventually(lambda: _persisted(site))
        await site.add_webhook()
        async with site.worker(), site.worker():
            ids, _ = await site.stack.publish(30)
            await site.stack.complete(await site.stack.claim(33), b'{"ok":true}')
            await eventually(lambda: len(receiver.calls) == 96)
            await eventually(lambda: _all_delivered(site))
    lives = by_message(receiver)
    assert [lives[name] for name in ids] == [["published", "claimed", "completed"]] * 30
    assert len({call.event["event_id"] for call in receiver.calls}) == 96
    completed = next(call for call in receiver.calls if call.event["event_type"].endswith("completed"))
    assert completed.event["payload"]["response"] == {"ok": True}
    assert completed.headers["X-ScaiGrid-Event"] == "scaiqueue.message.completed"
    assert completed.headers["X-ScaiGrid-Event-Id"] == completed.event["event_id"]
    assert completed.headers["X-ScaiGrid-Attempt"] == "1"


async def _persisted(site: Site) -> bool:
    return len(await site.stack.rows()) == 3


async def _all_delivered(site: Site) -> bool:
    return set(await site.states()) == {"delivered"}


async def test_what_fails_is_tried_again_and_its_message_waits(site: Site, receiver: Receiver) -> None:
    failures = [500, 302, 429]
    (slow,), _ = await site.stack.publish(1)

    def answer(call: Call) -> web.Response:
        if call.event["payload"]["message_id"] == slow and failures:
            return web.Response(status=failures.pop(), headers={"Location": "/elsewhere"})
        return web.Response()

    receiver.answer = answer
    await eventually(lambda: _has_rows(site, 1))
    await site.add_webhook()
    async with site.worker():
        await site.stack.complete(await site.stack.claim())
        (quick,), _ = await site.stack.publish(1)
        await eventually(lambda: _all_delivered_of(site, 3))
    assert by_message(receiver) == {slow: ["claimed", "completed"], quick: ["published"]}
    attempts = [call.headers["X-ScaiGrid-Attempt"] for call in receiver.calls]
    assert sorted(attempts) == ["1", "1", "1", "2", "3", "4"]
    first = (await site.deliveries())[0]
    assert (first.attempts, first.status_code, first.error) == (4, 200, "")


async def _has_rows(site: Site, count: int) -> bool:
    return len(await site.stack.rows()) == count


async def _all_delivered_of(site: Site, count: int) -> bool:
    return await site.states() == ["delivered"] * count


async def test_after_the_last_retry_it_is_given_up(site: Site, receiver: Receiver) -> None:
    receiver.answer = lambda call: web.Response(
        status=503 if call.event["event_type"].endswith("published") else 204
    )
    await site.add_webhook(max_retries=2)
    async with site.worker():
        await site.stack.publish(1)
        await site.stack.complete(await site.stack.claim())
        await eventually(lambda: _are(site, ["failed", "delivered", "delivered"]))
    given_up = (await site.deliveries())[0]
    assert (given_up.attempts, given_up.status_code, given_up.error) == (3, 503, "answered 503")
    assert receiver.types == ["published"] * 3 + ["claimed", "completed"]


async def _are(site: Site, states: list[str]) -> bool:
    return await site.states() == states


async def test_a_receiver_that_hangs_holds_up_its_message_alone(site: Site, receiver: Receiver) -> None:
    never = asyncio.Event()
    first: list[str] = []

    async def answer(call: Call) -> web.StreamResponse:
        first.append(call.event["payload"]["message_id"])
        if call.event["payload"]["message_id"] == first[0]:
            await never.wait()
        return web.Response()

    receiver.answer = answer
    await site.add_webhook(max_retries=0, events=PUBLISHED)
    async with site.worker(answer_within_s=0.5):
        await site.stack.publish(20)
        await eventually(lambda: _are(site, ["failed"] + ["delivered"] * 19))
    never.set()
    assert (await site.deliveries())[0].error == "no answer within 0.5 s"


async def test_an_answer_counts_when_its_head_is_there(site: Site, receiver: Receiver) -> None:
    """A body that never ends is not waited for."""
    never = asyncio.Event()
    streams: list[web.StreamResponse] = []

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        streams.append(response)
        await never.wait()
        return response

    application = web.Application()
    application.router.add_post("/hook", endless)
    runner = web.AppRunner(application, shutdown_timeout=0.01)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        await site.add_webhook(events=PUBLISHED, url=f"http://127.0.0.1:{runner.addresses[0][1]}/hook")
        async with site.worker():
            await site.stack.publish(1)
            await eventually(lambda: _are(site, ["delivered"]))
    finally:
        never.set()
        await runner.cleanup()


async def test_a_receiver_that_is_killed_gets_it_when_it_is_back(site: Site, receiver: Receiver) -> None:
    under_way = asyncio.Event()

    async def answer(_call: Call) -> web.StreamResponse:
        under_way.set()
        return await asyncio.Future()

    receiver.answer = answer
    await site.add_webhook(events=PUBLISHED, max_retries=20)
    async with site.worker():
        ids, _ = await site.stack.publish(1)
        await under_way.wait()
        await receiver.stop()
        await eventually(lambda: _was_tried(site, 2))
        receiver.answer = lambda _call: web.Response()
        await receiver.start()
        await eventually(lambda: _are(site, ["delivered"]))
    assert list(by_message(receiver)) == ids
    assert len({call.event["event_id"] for call in receiver.calls}) == 1


async def _was_tried(site: Site, times: int) -> bool:
    return any(row.attempts >= times for row in await site.deliveries())


async def test_another_worker_goes_on_where_one_stopped(site: Site, receiver: Receiver) -> None:
    await site.add_webhook(events=PUBLISHED)
    async with site.worker():
        ids, _ = await site.stack.publish(5)
        await eventually(lambda: _all_delivered_of(site, 5))
    ids += (await site.stack.publish(5))[0]
    async with site.worker():
        await eventually(lambda: _all_delivered_of(site, 10))
    assert sorted(by_message(receiver)) == sorted(ids)
    assert len(receiver.calls) == 10


async def test_a_lease_keeps_other_workers_away_until_it_ends(site: Site, receiver: Receiver) -> None:
    await site.add_webhook(events=PUBLISHED)
    engine = site.stack.engine
    assert await rows.hold(engine, site.webhook_id, "a worker that was killed", 3600)
    async with site.worker():
        await site.stack.publish(1)
        assert not await rows.hold(engine, site.webhook_id, "a third", 1)
        await eventually(lambda: _has_rows(site, 1))
        assert receiver.calls == []
        async with engine.begin() as conn:
            await conn.execute(update(webhooks).values(lease_until=1))
        await eventually(lambda: _are(site, ["delivered"]))


async def test_private_addresses_are_not_called(site: Site, receiver: Receiver) -> None:
    for number, host in enumerate(("127.0.0.1", "localhost")):
        site.webhook_id = str(uuid7())
        url = receiver.url.replace("127.0.0.1", host)
        await site.add_webhook(url=url, max_retries=0, events=PUBLISHED, description=str(number))
    async with site.worker(webhook_private_networks="10.0.0.0/8"):
        await site.stack.publish(1)
        await eventually(lambda: _are(site, ["failed", "failed"]))
    assert receiver.calls == []
    for delivery in await site.deliveries():
        assert delivery.error.startswith("not sent: ")
        assert delivery.error.endswith("is a private address")


async def test_after_a_long_failure_it_is_switched_off_and_can_be_switched_on(
    site: Site, receiver: Receiver
) -> None:
    receiver.answer = lambda _call: web.Response(status=500)
    await site.add_webhook(events=PUBLISHED, failing_since=now_ms() - 60_000)
    async with site.worker(webhook_disable_after_s=30):
        ids, _ = await site.stack.publish(2)
        await eventually(lambda: _is_off(site))
        off = await site.webhook()
        assert off.disabled_reason.startswith("nothing was taken since ")
        assert off.disabled_reason.endswith("last: answered 500")
        receiver.answer = lambda _call: web.Response()
        ids += (await site.stack.publish(1))[0]
        await rows.change(
            site.stack.engine, site.webhook_id, enabled=True, disabled_reason="", failing_since=0
        )
        await eventually(lambda: _all_delivered_of(site, 3))
    assert sorted(by_message(receiver)) == sorted(ids)


async def _is_off(site: Site) -> bool:
    return not (await site.webhook()).enabled


async def test_a_receiver_that_is_gone_for_good_says_so(site: Site, receiver: Receiver) -> None:
    receiver.answer = lambda _call: web.Response(status=410)
    await site.add_webhook(events=PUBLISHED)
    async with site.worker():
        await site.stack.publish(1)
        await eventually(lambda: _is_off(site))
    assert (await site.webhook()).disabled_reason == "the receiver answered 410; last: answered 410"


async def test_more_than_fits_into_the_window_comes_through(site: Site, receiver: Receiver) -> None:
    await site.add_webhook(events=PUBLISHED)
    ids: list[str] = []
    for _ in range(3):
        ids += (await site.stack.publish(500))[0]
    async with site.worker():
        await eventually(lambda: len(receiver.calls) >= 1500, timeout=60)
    assert sorted(by_message(receiver)) == sorted(ids)
