"""Another tenant's key sees nothing, on any endpoint; every endpoint asks for a key and a permission."""

from __future__ import annotations

import re
from typing import Any

import httpx
import pytest

from scaiqueue.api.endpoint import Endpoint
from scaiqueue.api.examples import EXAMPLES
from scaiqueue.api.permissions import ALL_PERMISSIONS, PERMISSIONS
from scaiqueue.api.routes import ENDPOINTS
from scaiqueue.moments import now_ms
from scaiqueue.queueing.key_ring import new_secret, secret_hash
from scaiqueue.rows import api_keys
from scaiqueue.rows.api_keys import KeyRow
from scaiqueue.rows.engine import open_engine
from tests.api.conftest import BASE, Api, created, failed

_names = re.compile(r"\{(\w+)\}")
_identified = [e for e in ENDPOINTS if re.search(r"\{(scope|key|webhook)\}", e.path)]
_others = [e for e in ENDPOINTS if e not in _identified]


async def _foreign_key(api: Api) -> str:
    """A key with every permission of another tenant."""
    secret = new_secret()
    engine = open_engine(api.server.database_url)
    key_hash = secret_hash(secret)
    await api_keys.create(
        engine,
        KeyRow(
            id=f"{key_hash[:8]}-0000-7000-8000-000000000000",
            tenant_id="other",
            name="foreign",
            key_hash=key_hash,
            prefix=secret[:8],
            permissions='["' + '","'.join(ALL_PERMISSIONS) + '"]',
            scopes="[]",
            queues="[]",
            created_at=now_ms(),
            expires_at=0,
            revoked_at=0,
            last_used_at=0,
        ),
    )
    await engine.dispose()
    return secret


async def _things(api: Api) -> dict[str, str]:
    scope = await api.scope()
    queue = await api.queue(scope)
    path = f"/scopes/{scope['id']}/queues/{queue['id']}/messages"
    message = created(await api.http.post(path, json={"type": "secret", "body": 1, "correlation_id": "c"}))
    job = (await api.http.post(f"/scopes/{scope['id']}/dead-letter/redrive")).json()["data"]
    rule = {"name": "r", "trigger": "message_expired", "then": {"archive": True}}
    rule = created(await api.http.post(f"/scopes/{scope['id']}/routing-rules", json=rule))
    news = await api.queue(scope, consumer_mode="broadcast")
    subscriptions = f"/scopes/{scope['id']}/queues/{news['id']}/subscriptions"
    subscription = created(await api.http.post(subscriptions, json={"name": "s"}))
    key = created(await api.http.post("/api-keys", json={"name": "k", "permissions": ["scaiqueue:view"]}))
    schema = created(await api.http.post(f"/scopes/{scope['id']}/schemas", json=EXAMPLES["CreateSchema"]))
    pattern = EXAMPLES["CreatePattern"]
    pattern = created(await api.http.post(f"/scopes/{scope['id']}/hitl-patterns", json=pattern))
    stream = {"queue": queue["id"], "type": "secret"}
    stream = created(await api.http.post(f"/scopes/{scope['id']}/streams", json=stream))
    grant = {**EXAMPLES["CreateGrant"], "principal": {"type": "api_key", "id": key["id"]}}
    grant = created(await api.http.post(f"/scopes/{scope['id']}/grants", json=grant))
    trust = {"from": (await api.scope())["id"]}
    trust = created(await api.http.post(f"/scopes/{scope['id']}/trusts", json=trust))
    webhook = {"url": "http://127.0.0.1:9/", "events": ["*"]}
    webhook = created(await api.http.post("/webhooks", json=webhook))
    return {
        "grant": grant["id"],
        "trust": trust["id"],
        "scope": scope["id"],
        "queue": queue["id"],
        "message": message["id"],
        "correlation_id": "c",
        "job": job["id"],
        "rule": rule["id"],
        "subscription": subscription["id"],
        "idempotency_key": "k",
        "key": key["id"],
        "schema": schema["id"],
        "pattern": pattern["id"],
        "stream": stream["id"],
        "agent": "expiry_enforcer",
        "webhook": webhook["id"],
        "delivery": webhook["id"],
        "erasure": key["id"],
    }


async def _call(client: httpx.AsyncClient, endpoint: Endpoint, things: dict[str, str]) -> httpx.Response:
    path = _names.sub(lambda match: things[match[1]], endpoint.path)
    body: Any = None if endpoint.body is None else EXAMPLES[endpoint.body.__name__]
    return await client.request(endpoint.method, path, json=body)


async def test_another_tenants_things_are_not_found(api: Api) -> None:
    things = await _things(api)
    async with api.with_key(await _foreign_key(api)) as stranger:
        for endpoint in _identified:
            answer = await _call(stranger, endpoint, things)
            assert answer.status_code in (403, 404), f"{endpoint.name}: {answer.text}"
            assert "data" not in answer.json()
            assert "secret" not in answer.text
        for path in ("/scopes", "/api-keys"):
            text = (await stranger.get(path)).text
            assert things["scope"] not in text
            assert things["key"] not in text
        own = created(await stranger.post("/scopes", json={"slug": "own", "display_name": "x"}))
        crossed = {**things, "scope": own["id"]}
        for endpoint in _identified:
            named = {
                "queue", "message", "job", "rule", "schema", "pattern", "stream", "grant", "trust",
                "subscription",
            }  # fmt: skip
            if named & endpoint.names:
                answer = await _call(stranger, endpoint, crossed)
                assert answer.status_code == 404, f"{endpoint.name}: {answer.text}"
    assert (await api.http.get(f"/scopes/{things['scope']}")).json()["data"]["state"] == "active"


async def test_every_endpoint_asks_for_a_key(api: Api) -> None:
    things = await _things(api)
    async with api.with_key(None) as nobody:
        for endpoint in ENDPOINTS:
            failed(await _call(nobody, endpoint, things), 401, "AUTH_TOKEN_MISSING")


@pytest.mark.parametrize("permission", ALL_PERMISSIONS)
async def test_every_endpoint_asks_for_its_permission(api: Api, permission: str) -> None:
    things = await _things(api)
    left = [name for name in ALL_PERMISSIONS if name != permission]
    key = created(await api.http.post("/api-keys", json={"name": "k", "permissions": left}))
    asked = [e for e in ENDPOINTS if e.permission is not None and e.permission.value == permission]
    assert asked
    async with api.with_key(key["key"]) as client:
        for endpoint in asked:
            answer = await _call(client, endpoint, things)
            assert permission in failed(answer, 403, "AUTHZ_PERMISSION_DENIED")["message"]


def test_the_table_of_permissions_is_that_of_the_endpoints() -> None:
    assert set(PERMISSIONS) == {f"{endpoint.method} {endpoint.path}" for endpoint in ENDPOINTS}
    assert all(endpoint.full_path.startswith(BASE) for endpoint in _others)
