"""What happens to a transfer whose relay died between its two steps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from msgspec import json

from scaiqueue.keys import OUTBOUND, QueueKeys
from scaiqueue.queueing.configure import keys_of
from scaiqueue.queueing.directory import QueueEntry
from scaiqueue.queueing.header import read_header
from scaiqueue.queueing.publish import Draft, Published
from scaiqueue.queueing.rulebook import Asked
from scaiqueue.routing.actions import Route, Then, Transform
from scaiqueue.rows import access
from scaiqueue.rows.access import TrustRow
from scaiqueue.rows.queues import QueueSettings
from scaiqueue.rows.scopes import ScopeRow
from scaiqueue.services import Services
from scaiqueue.settings import Settings
from scaiqueue.transfers.departure import Departure, arrival
from tests.eventually import eventually

DELAY_S = 0.5


@pytest.fixture
async def services(redis_url: str, sqlite_url: str) -> AsyncIterator[Services]:
    found = Services(Settings(redis_url=redis_url, database_url=sqlite_url, shards=4))
    await found.start()
    yield found
    await found.stop()


async def _scope(services: Services, slug: str, queue: str) -> tuple[ScopeRow, QueueEntry]:
    row = await services.administration.create_scope(
        "default", slug=slug, display_name=slug, description="", durability=""
    )
    await services.administration.create_queue(
        row, slug=queue, display_name=queue, description="", settings=QueueSettings()
    )
    entry = await services.directory.scope("default", slug)
    return row, await services.directory.queue(entry, queue)


async def _routed(services: Services, here: ScopeRow, there: ScopeRow) -> None:
    trust = TrustRow(
        id=there.id, tenant_id="default", from_scope=here.id, to_scope=there.id, terms="{}", created_by="t",
        created_at=1,
    )  # fmt: skip
    await access.create_trust(services.engine, trust, 1)
    then = Then(route=Route(queue="parcels", scope="there"), transform=Transform(delay_s=DELAY_S))
    rule = Asked(
        name="r",
        queue="orders",
        trigger="message_published",
        position=None,
        when=None,
        then=then,
        enabled=True,
    )
    await services.rules.create(here, keys_of(here), rule)


async def test_what_has_arrived_is_recognised(services: Services) -> None:
    here, orders = await _scope(services, "here", "orders")
    there, parcels = await _scope(services, "there", "parcels")
    await _routed(services, here, there)
    draft = Draft(orders.keys, "t", b'{"type":"t"}', b'{"n":1}')
    (sent,) = await services.publisher.publish(orders.scope, [draft])
    assert isinstance(sent, Published)
    # While it waits in `_outbound`, a relay publishes it at its target, and is no more.
    record, header, body, _ = await services.reader.stored(orders.scope, sent.id)
    assert record.queue == OUTBOUND
    leaving = Departure(sent.id, "", record, read_header(header), body, there.id, "parcels", 1)
    (first,) = await services.publisher.publish(parcels.scope, [arrival(leaving, parcels)])
    assert isinstance(first, Published)

    async def completed() -> Any:
        message = await services.reader.get(orders.scope, sent.id)
        return json.decode(message.response) if message.state == "completed" else None

    response = await eventually(completed)
    assert response == {"transferred": {"scope": there.id, "queue": "parcels", "id": first.id}}
    assert await _depth(services, parcels.keys) == 1


async def _depth(services: Services, queue: QueueKeys) -> int:
    (depths,) = await services.depths([(queue, "fifo")])
    return depths.pending
