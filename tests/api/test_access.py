"""Grants and ACLs as callers meet them, also where a queue is named in the body or stands in a list."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.api.conftest import Api, created, failed

EVERYONE = {"type": "everyone"}
NOBODY = "00000000-0000-7000-8000-000000000000"
DENIED = "AUTHZ_PERMISSION_DENIED"


class Shop:
    """A scope with queues `open` and `shut`, whose ACL shuts out the key of `client`; a message in each."""

    def __init__(self, api: Api, scope: str, client: httpx.AsyncClient) -> None:
        self.api, self.client, self.path = api, client, f"/scopes/{scope}"

    async def publish(self, queue: str) -> str:
        message = {"type": "t", "body": 1, "correlation_id": "c"}
        path = f"{self.path}/queues/{queue}/messages"
        found: str = created(await self.api.http.post(path, json=message))["id"]
        return found


async def _key(api: Api, *permissions: str, **fields: Any) -> dict[str, Any]:
    names = [f"scaiqueue:{permission}" for permission in permissions]
    return created(await api.http.post("/api-keys", json={"name": "k", "permissions": names, **fields}))


async def _shut(api: Api, path: str, **acl: Any) -> None:
    answer = await api.http.put(f"{path}/queues/shut/acl", json=acl)
    assert answer.status_code == 200, answer.text


@pytest.fixture
async def shop(api: Api) -> Any:
    scope = await api.scope()
    for slug in ("open", "shut"):
        await api.queue(scope, slug=slug)
    key = await _key(api, "view", "publish", "consume", "manage", scopes=[scope["id"]])
    await _shut(api, f"/scopes/{scope['id']}", deny=[{"principal": {"id": key["id"]}}])
    async with api.with_key(key["key"]) as client:
        yield Shop(api, scope["id"], client)


async def test_queues_that_the_body_names(shop: Shop) -> None:
    in_open, in_shut = await shop.publish("open"), await shop.publish("shut")
    path = shop.path + "/messages"
    failed(await shop.client.post(path + "/claim", json={"queues": ["open", "shut"]}), 403, DENIED)
    claimed = (await shop.client.post(path + "/claim", json={"queues": ["open"]})).json()["data"]
    assert [message["id"] for message in claimed] == [in_open]
    items = [{"id": in_shut}, {"id": in_open, "claim_token": claimed[0]["claim_token"]}]
    for verb in ("fail", "release", "extend", "complete"):
        more: dict[str, Any] = {"visibility_timeout_s": 30} if verb == "extend" else {}
        asked = [{**item, **more} for item in (items if verb == "complete" else items[:1])]
        results = (await shop.client.post(f"{path}/{verb}", json={"items": asked})).json()["data"]
        assert results[0]["error"]["code"] == DENIED, verb
    assert results[1]["state"] == "completed"
    next_claim = {"items": [{"id": in_open}], "claim": {"queue": "shut"}}
    failed(await shop.client.post(path + "/complete", json=next_claim), 403, DENIED)
    sample = {"queue": "shut", "message": {"type": "t"}}
    failed(await shop.client.post(shop.path + "/routing-rules/evaluate", json=sample), 403, DENIED)
    stored = {"message_id": in_shut}
    failed(await shop.client.post(shop.path + "/routing-rules/evaluate", json=stored), 403, DENIED)
    redrive = shop.path + "/dead-letter/redrive"
    failed(await shop.client.post(redrive), 403, DENIED)
    failed(await shop.client.post(redrive, json={"target": "shut"}), 403, DENIED)
    assert (await shop.client.post(redrive, json={"target": "open"})).status_code == 202


async def test_lists_leave_out_what_is_shut(shop: Shop) -> None:
    in_open, in_shut = await shop.publish("open"), await shop.publish("shut")

    async def listed(path: str, **params: str) -> list[dict[str, Any]]:
        answer = await shop.client.get(shop.path + path, params=params)
        assert answer.status_code == 200, answer.text
        data: list[dict[str, Any]] = answer.json()["data"]
        return data

    assert {queue["slug"] for queue in await listed("/queues", limit="500")} == {
        "open", "_dead_letter", "_events", "_audit", "_integrity", "_corrections",
    }  # fmt: skip
    assert [message["id"] for message in await listed("/messages")] == [in_open]
    assert {step["message_id"] for step in await listed("/audit/trace/c")} == {in_open}
    assert await listed("/reviews") == []
    failed(await shop.client.get(shop.path + "/messages", params={"queue": "shut"}), 403, DENIED)
    failed(await shop.client.get(f"{shop.path}/messages/{in_shut}"), 403, DENIED)
    for answer in (
        await shop.client.get(shop.path + "/routing-rules"),
        await shop.client.delete(shop.path, params={"force": "true"}),
    ):
        failed(answer, 403, DENIED)


async def test_streams_of_a_queue_that_is_shut(shop: Shop) -> None:
    asked = {"queue": "shut", "type": "t"}
    failed(await shop.client.post(shop.path + "/streams", json=asked), 403, DENIED)
    stream = created(await shop.api.http.post(shop.path + "/streams", json=asked))
    path = f"{shop.path}/streams/{stream['id']}"
    for answer in (
        await shop.client.get(path),
        await shop.client.get(path + "/chunks"),
        await shop.client.post(path + "/chunks", json={"seq": 0, "data": "a"}),
        await shop.client.post(path + "/close"),
    ):
        failed(answer, 403, DENIED)
    assert (await shop.client.get(shop.path + "/streams")).json()["data"] == []


async def test_an_acl_is_shown_replaced_and_removed(shop: Shop) -> None:
    path = f"{shop.path}/queues/shut/acl"
    key = await _key(shop.api, "consume")
    allow = [{"principal": {"type": "api_key", "id": key["id"]}, "permissions": ["scaiqueue:consume"]}]
    await _shut(shop.api, shop.path, allow=allow)
    shown = (await shop.api.http.get(path)).json()["data"]
    assert (shown["allow"], shown["deny"]) == (allow, [])
    failed(await shop.client.post(f"{shop.path}/queues/shut/messages/claim"), 403, DENIED)
    created(await shop.client.post(f"{shop.path}/queues/shut/messages", json={"type": "t"}))
    async with shop.api.with_key(key["key"]) as holder:
        claimed = await holder.post(f"{shop.path}/queues/shut/messages/claim")
        assert len(claimed.json()["data"]) == 1
    assert (await shop.api.http.delete(path)).json()["data"]["deleted"] is True
    shown = (await shop.api.http.get(path)).json()["data"]
    assert (shown["allow"], shown["deny"], shown["updated_at"]) == ([], [], None)
    assert (await shop.client.post(f"{shop.path}/queues/shut/messages/claim")).status_code == 200


@pytest.mark.parametrize(
    ("entry", "field"),
    [
        ({"principal": {"id": NOBODY}}, "deny[0].principal.id"),
        ({"principal": {"type": "api_key"}}, "deny[0].principal.id"),
        ({"principal": {"type": "everyone", "id": NOBODY}}, "deny[0].principal.id"),
        ({"principal": EVERYONE, "permissions": ["all"]}, "deny[0].permissions[0]"),
        ({"principal": EVERYONE, "until": "now"}, "deny[0].until"),
    ],
)
async def test_acls_that_make_no_sense(shop: Shop, entry: dict[str, Any], field: str) -> None:
    answer = await shop.api.http.put(f"{shop.path}/queues/shut/acl", json={"deny": [entry]})
    assert field in [detail["field"] for detail in failed(answer, 422, "VALIDATION_ERROR")["details"]]


async def test_an_administrator_is_not_locked_out(shop: Shop) -> None:
    await _shut(shop.api, shop.path, deny=[{"principal": EVERYONE}])
    failed(await shop.api.http.get(f"{shop.path}/queues/shut"), 403, DENIED)
    assert (await shop.api.http.delete(f"{shop.path}/queues/shut/acl")).status_code == 200
    assert (await shop.api.http.get(f"{shop.path}/queues/shut")).status_code == 200


async def test_a_grant(shop: Shop) -> None:
    key = await _key(shop.api)
    assert key["permissions"] == []
    body = {"principal": {"type": "api_key", "id": key["id"]}, "permissions": ["scaiqueue:publish"]}
    path = f"{shop.path}/queues/open/messages"
    async with shop.api.with_key(key["key"]) as client:
        failed(await client.post(path, json={"type": "t"}), 403, DENIED)
        failed(await client.post("/scopes/nowhere/queues/open/messages", json={"type": "t"}), 403, DENIED)
        grant = created(await shop.api.http.post(shop.path + "/grants", json=body))
        assert grant["principal"] == body["principal"]
        created(await client.post(path, json={"type": "t"}))
        failed(await client.post(path + "/claim"), 403, DENIED)
        failed(await client.get("/scopes"), 403, DENIED)
    one = f"{shop.path}/grants/{grant['id']}"
    assert (await shop.api.http.get(one)).json()["data"] == grant
    assert (await shop.api.http.get(shop.path + "/grants")).json()["data"] == [grant]
    assert (await shop.api.http.delete(one)).status_code == 200
    for answer in (await shop.api.http.get(one), await shop.api.http.delete(one)):
        failed(answer, 404, "SCAIQUEUE_GRANT_NOT_FOUND")


async def test_nobody_grants_more_than_they_have(shop: Shop) -> None:
    manager, other = await _key(shop.api, "manage"), await _key(shop.api)
    body = {"principal": {"id": other["id"]}, "permissions": ["scaiqueue:manage", "scaiqueue:publish"]}
    async with shop.api.with_key(manager["key"]) as client:
        error = failed(await client.post(shop.path + "/grants", json=body), 403, DENIED)
        assert "scaiqueue:publish" in error["message"]
        more = {"principal": {"id": manager["id"]}, "permissions": ["scaiqueue:publish"]}
        created(await shop.api.http.post(shop.path + "/grants", json=more))
        created(await client.post(shop.path + "/grants", json=body))


async def test_grants_that_make_no_sense(shop: Shop) -> None:
    elsewhere = await shop.api.scope()
    limited = await _key(shop.api, "view", scopes=[elsewhere["id"]])
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    for principal, more, field in (
        (NOBODY, {}, "principal.id"),
        (limited["id"], {}, "principal.id"),
        (NOBODY, {"expires_at": past}, "expires_at"),
        (NOBODY, {"permissions": []}, "permissions"),
    ):
        body = {"principal": {"id": principal}, "permissions": ["scaiqueue:view"], **more}
        answer = await shop.api.http.post(shop.path + "/grants", json=body)
        assert field in [detail["field"] for detail in failed(answer, 422, "VALIDATION_ERROR")["details"]]


async def test_what_is_left_of_a_deleted_queue_and_scope(shop: Shop) -> None:
    key = await _key(shop.api)
    body = {"principal": {"id": key["id"]}, "permissions": ["scaiqueue:publish"]}
    created(await shop.api.http.post(shop.path + "/grants", json=body))
    assert (await shop.api.http.delete(f"{shop.path}/queues/shut")).status_code == 200
    await shop.api.queue({"id": shop.path.rpartition("/")[2]}, slug="shut")
    created(await shop.client.post(f"{shop.path}/queues/shut/messages", json={"type": "t"}))
    assert (await shop.api.http.delete(shop.path, params={"force": "true"})).status_code == 200
    async with shop.api.with_key(key["key"]) as client:
        failed(await client.post(f"{shop.path}/queues/shut/messages", json={"type": "t"}), 403, DENIED)
