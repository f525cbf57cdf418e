"""Webhooks over the API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from redis.asyncio import Redis
from sqlalchemy import delete
from sqlalchemy.ext.asyncio import AsyncEngine

from scaiqueue.rows.engine import open_engine
from scaiqueue.rows.tables import events
from scaiqueue.settings import Settings
from scaiqueue.webhooks.deliverer import Deliverer
from tests.api.conftest import Api, created, failed
from tests.events.conftest import Ground, Receiver
from tests.eventually import eventually

NOBODY = "00000000-0000-7000-8000-000000000000"


async def _created(api: Api, receiver: Receiver, **fields: Any) -> dict[str, Any]:
    body = {"url": receiver.url, "events": ["*"], "secret": receiver.secret, **fields}
    return created(await api.http.post("/webhooks", json=body))


async def test_create_read_change_delete(api: Api, ground: Ground, receiver: Receiver) -> None:
    made = await _created(api, receiver, scope=ground.scope["slug"], queue=ground.queue["slug"])
    assert made.pop("secret") == receiver.secret
    assert (made["scope_id"], made["queue"]) == (ground.scope["id"], ground.queue["slug"])
    assert (made["max_retries"], made["enabled"], made["failing_since"]) == (5, True, None)
    path = f"/webhooks/{made['id']}"
    assert (await api.http.get(path)).json()["data"] == made
    listed = (await api.http.get("/webhooks", params={"limit": 500})).json()["data"]
    assert made in listed
    changes = {"events": ["hitl.*"], "max_retries": 0, "enabled": False, "description": "off"}
    changed = (await api.http.patch(path, json=changes)).json()["data"]
    assert {name: changed[name] for name in changes} == changes
    assert "secret" not in changed
    assert (await api.http.delete(path)).status_code == 200
    failed(await api.http.get(path), 404, "SCAIQUEUE_WEBHOOK_NOT_FOUND")


async def test_a_secret_is_made_and_shown_once(api: Api, receiver: Receiver) -> None:
    made = created(await api.http.post("/webhooks", json={"url": receiver.url, "events": ["queue.*"]}))
    assert made["secret"].startswith("whsec_")
    assert len(made["secret"]) > 40


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"url": "http://10.0.0.1/"}, "url"),
        ({"url": "http://[::ffff:192.168.0.1]/"}, "url"),
        ({"url": "http://169.254.169.254/latest/meta-data"}, "url"),
        ({"url": "http://[64:ff9b::10.0.0.1]/"}, "url"),
        ({"url": "http://0/"}, "url"),
        ({"url": "ftp://example.com/"}, "url"),
        ({"url": "https://user:password@example.com/"}, "url"),
        ({"url": "nonsense"}, "url"),
        ({"url": "http://example.com:99999/"}, "url"),
        ({"events": ["scaiqueue.message.complete"]}, "events"),
        ({"events": []}, "events"),
        ({"secret": "short"}, "secret"),
        ({"max_retries": 21}, "max_retries"),
        ({"scope": "nothing"}, "scope"),
        ({"queue": "orders"}, "queue"),
        ({"header": "x"}, "header"),
    ],
)
async def test_what_is_wrong_is_refused(
    api: Api, receiver: Receiver, fields: dict[str, Any], wrong: str
) -> None:
    body = {"url": receiver.url, "events": ["*"], **fields}
    error = failed(await api.http.post("/webhooks", json=body), 422, "VALIDATION_ERROR")
    assert wrong in error["details"][0]["field"]


async def test_a_test_call_answers_what_the_receiver_did(api: Api, receiver: Receiver) -> None:
    made = await _created(api, receiver, events=["hitl.*"])
    path = f"/webhooks/{made['id']}"
    said = (await api.http.post(f"{path}/test")).json()["data"]
    assert (said["delivered"], said["status_code"], said["error"]) == (True, 200, None)
    (call,) = receiver.calls
    assert call.event["event_type"] == "webhook.test"
    assert call.event["event_id"] == said["event_id"]
    receiver.answer = lambda _call: web.Response(status=418)
    said = (await api.http.post(f"{path}/test")).json()["data"]
    assert (said["delivered"], said["status_code"], said["error"]) == (False, 418, "answered 418")
    listed = (await api.http.get(f"{path}/deliveries")).json()["data"]
    assert {delivery["state"] for delivery in listed} == {"delivered", "failed"}
    one = (await api.http.get(f"{path}/deliveries", params={"state": "failed"})).json()["data"]
    assert [delivery["event_id"] for delivery in one] == [said["event_id"]]
    error = await api.http.post(f"{path}/deliveries/{said['delivery_id']}/replay")
    failed(error, 409, "SCAIQUEUE_INVALID_STATE")


async def test_a_limited_key_has_no_webhooks(api: Api, ground: Ground, receiver: Receiver) -> None:
    made = await _created(api, receiver)
    rights = {"name": "k", "permissions": ["scaiqueue:manage", "scaiqueue:view"]}
    key = created(await api.http.post("/api-keys", json={**rights, "scopes": [ground.scope["id"]]}))
    async with api.with_key(key["key"]) as limited:
        body = {"url": receiver.url, "events": ["*"], "scope": ground.scope["id"]}
        failed(await limited.post("/webhooks", json=body), 403, "AUTHZ_PERMISSION_DENIED")
        for path in ("/webhooks", f"/webhooks/{made['id']}", f"/webhooks/{made['id']}/deliveries"):
            failed(await limited.get(path), 403, "AUTHZ_PERMISSION_DENIED")


async def test_what_is_not_there(api: Api, receiver: Receiver) -> None:
    made = await _created(api, receiver)
    path = f"/webhooks/{made['id']}/deliveries"
    failed(await api.http.get(f"/webhooks/{NOBODY}"), 404, "SCAIQUEUE_WEBHOOK_NOT_FOUND")
    failed(await api.http.get(f"{path}/{NOBODY}"), 404, "SCAIQUEUE_DELIVERY_NOT_FOUND")
    failed(await api.http.post(f"{path}/{NOBODY}/replay"), 404, "SCAIQUEUE_DELIVERY_NOT_FOUND")


@asynccontextmanager
async def _worker(api: Api) -> AsyncIterator[AsyncEngine]:
    """Delivers from the server's rows."""
    redis, engine = Redis.from_url(api.redis.url), open_engine(api.server.database_url)
    settings = Settings(shards=4, webhook_private_networks="127.0.0.0/8")
    task = asyncio.create_task(Deliverer(settings, redis, engine).run())
    try:
        yield engine
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await engine.dispose()
        await redis.aclose()


async def test_a_delivery_is_replayed(api: Api, ground: Ground, receiver: Receiver) -> None:
    made = await _created(api, receiver, scope=ground.scope["id"], events=["scaiqueue.message.published"])
    path = f"/webhooks/{made['id']}/deliveries"

    async def delivered(count: int) -> list[dict[str, Any]]:
        listed = await api.http.get(path, params={"state": "delivered"})
        found: list[dict[str, Any]] = listed.json()["data"]
        return found if len(found) == count else []

    async with _worker(api) as engine:
        await ground.publish(correlation_id="c")
        (first,) = await eventually(lambda: delivered(1))
        again = created(await api.http.post(f"{path}/{first['id']}/replay"))
        assert (again["replay_of"], again["subject"]) == (first["id"], first["subject"])
        await eventually(lambda: delivered(2))
        assert len({call.event["event_id"] for call in receiver.calls}) == 1
        assert [call.event["payload"]["correlation_id"] for call in receiver.calls] == ["c", "c"]
        await api.http.patch(f"/webhooks/{made['id']}", json={"enabled": False})
        error = await api.http.post(f"{path}/{first['id']}/replay")
        failed(error, 409, "SCAIQUEUE_INVALID_STATE")
        await api.http.patch(f"/webhooks/{made['id']}", json={"enabled": True})
        async with engine.begin() as conn:
            await conn.execute(delete(events).where(events.c.scope_id == ground.scope["id"]))
        failed(await api.http.post(f"{path}/{first['id']}/replay"), 410, "SCAIQUEUE_EVENTS_GONE")
