"""API keys: limits, rotation, revocation in every process."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.api.conftest import FIRST_KEY, Api, ApiServer, created, failed
from tests.eventually import eventually

ALL = ["scaiqueue:view", "scaiqueue:publish", "scaiqueue:consume", "scaiqueue:manage"]


async def _key(api: Api, **fields: Any) -> dict[str, Any]:
    return created(await api.http.post("/api-keys", json={"name": "k", "permissions": ALL, **fields}))


async def test_a_key_is_shown_once(api: Api) -> None:
    key = await _key(api)
    assert key["key"].startswith("sgk_")
    assert len(key["key"]) >= 36
    shown = (await api.http.get(f"/api-keys/{key['id']}")).json()["data"]
    assert "key" not in shown
    listed = (await api.http.get("/api-keys", params={"limit": 500})).json()["data"]
    assert key["id"] in [row["id"] for row in listed]
    assert key["key"] not in str(listed)
    async with api.with_key(key["key"]) as client:
        assert (await client.get("/scopes")).status_code == 200


@pytest.mark.parametrize(
    ("permission", "allowed"),
    [("scaiqueue:view", {"view"}), ("scaiqueue:publish", {"publish"}), ("scaiqueue:consume", {"claim"})],
)
async def test_permissions(api: Api, permission: str, allowed: set[str]) -> None:
    scope = await api.scope()
    queue = await api.queue(scope)
    key = await _key(api, permissions=[permission])
    base = f"/scopes/{scope['id']}/queues/{queue['id']}"
    async with api.with_key(key["key"]) as client:
        answers = {
            "view": await client.get(base),
            "publish": await client.post(base + "/messages", json={"type": "t"}),
            "claim": await client.post(base + "/messages/claim"),
            "manage": await client.post(base + "/pause"),
        }
    for name, answer in answers.items():
        if name in allowed:
            assert answer.is_success, answer.text
        else:
            assert "scaiqueue:" in failed(answer, 403, "AUTHZ_PERMISSION_DENIED")["message"]


async def test_limits_to_scopes_and_queues(api: Api) -> None:
    scope, other = await api.scope(), await api.scope()
    queue, second = await api.queue(scope), await api.queue(scope)
    key = await _key(api, scopes=[scope["slug"]], queues=[queue["slug"]])
    assert key["scopes"] == [scope["id"]]
    assert key["queues"] == [queue["id"]]
    message = created(
        await api.http.post(
            f"/scopes/{scope['id']}/queues/{second['id']}/messages", json={"type": "t", "body": 1}
        )
    )
    async with api.with_key(key["key"]) as client:
        listed = (await client.get("/scopes")).json()["data"]
        assert [row["id"] for row in listed] == [scope["id"]]
        assert [row["id"] for row in (await client.get(f"/scopes/{scope['id']}/queues")).json()["data"]] == [
            queue["id"]
        ]
        assert (await client.get(f"/scopes/{scope['id']}/messages")).json()["data"] == []
        for path in (
            f"/scopes/{other['id']}",
            f"/scopes/{scope['id']}/queues/{second['id']}",
            f"/scopes/{scope['id']}/messages/{message['id']}",
            "/api-keys",
        ):
            failed(await client.get(path), 403, "AUTHZ_PERMISSION_DENIED")
        cancel = await client.post(f"/scopes/{scope['id']}/messages/{message['id']}/cancel")
        failed(cancel, 403, "AUTHZ_PERMISSION_DENIED")
        path = f"/scopes/{scope['id']}/queues/{queue['id']}/messages"
        created(await client.post(path, json={"type": "t", "body": 1}))
        failed(
            await client.post("/scopes", json={"slug": "x", "display_name": "x"}),
            403,
            "AUTHZ_PERMISSION_DENIED",
        )
    wrong = await api.http.post(
        "/api-keys", json={"name": "k", "permissions": ALL, "scopes": ["nothing"], "queues": ["x"]}
    )
    assert failed(wrong, 422, "VALIDATION_ERROR")["details"][0]["field"] == "scopes[0]"


async def test_a_key_gives_no_more_than_it_has(api: Api) -> None:
    manager = await _key(api, permissions=["scaiqueue:manage"])
    async with api.with_key(manager["key"]) as client:
        more = await client.post("/api-keys", json={"name": "k", "permissions": ALL})
        failed(more, 403, "AUTHZ_PERMISSION_DENIED")


async def test_expired_and_rotated_keys(api: Api) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=1)
    key = await _key(api, expires_at=soon.isoformat())

    async def refused() -> bool:
        async with api.with_key(key["key"]) as client:
            return (await client.get("/scopes")).status_code == 401

    await eventually(refused)
    failed(await api.http.post(f"/api-keys/{key['id']}/rotate"), 409, "SCAIQUEUE_INVALID_STATE")
    first = await _key(api)
    kept = created(await api.http.post(f"/api-keys/{first['id']}/rotate"))
    async with api.with_key(first["key"]) as old, api.with_key(kept["key"]) as new:
        assert (await old.get("/scopes")).status_code == (await new.get("/scopes")).status_code == 200
        created(await api.http.post(f"/api-keys/{first['id']}/rotate", json={"overlap_s": 0}))
        failed(await old.get("/scopes"), 401, "AUTH_TOKEN_INVALID")
    past = await api.http.post(
        "/api-keys", json={"name": "k", "permissions": ALL, "expires_at": "2020-01-01T00:00:00Z"}
    )
    failed(past, 422, "VALIDATION_ERROR")


async def test_a_key_is_revoked_in_every_process(api: Api) -> None:
    second = ApiServer(
        redis_url=api.redis.url,
        database_url=api.server.database_url,
        api_key=FIRST_KEY,
        shards="4",
    )
    key = await _key(api)
    with second:
        async with api.with_key(key["key"]) as here:
            there = f"{second.url}{here.base_url.path}"
            assert (await here.get("/scopes")).status_code == 200
            assert (await here.get(there + "scopes")).status_code == 200
            revoked = (await api.http.post(f"/api-keys/{key['id']}/revoke")).json()["data"]
            assert revoked["revoked_at"]
            failed(await here.get("/scopes"), 401, "AUTH_TOKEN_INVALID")

            async def refused() -> bool:
                return (await here.get(there + "scopes")).status_code == 401

            await eventually(refused, timeout=2)
    failed(await api.http.get("/api-keys/nothing"), 404, "SCAIQUEUE_KEY_NOT_FOUND")
