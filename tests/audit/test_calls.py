"""What the audit of a real server holds after calls of every kind."""

from __future__ import annotations

import sqlite3
from typing import Any

import httpx
from uuid_utils import uuid7

from scaiqueue.api.routes import ENDPOINTS
from tests.api.conftest import BASE, FIRST_KEY, Api, ApiServer, created, failed
from tests.eventually import eventually
from tests.servers import RedisServer


async def _audit(api: Api, scope: dict[str, Any], **query: Any) -> list[dict[str, Any]]:
    answer = await api.http.get(f"/scopes/{scope['id']}/audit", params={"limit": 500, **query})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()["data"]
    return found


async def _key(api: Api, *permissions: str, **limits: Any) -> dict[str, Any]:
    body = {"name": "k", "permissions": [f"scaiqueue:{name}" for name in permissions], **limits}
    return created(await api.http.post("/api-keys", json=body))


def _one(calls: list[dict[str, Any]], event: str) -> dict[str, Any]:
    (found,) = (call for call in calls if call["event_type"] == event)
    return found


def test_every_operation_has_a_name_of_its_own() -> None:
    names = [endpoint.name for endpoint in ENDPOINTS]
    assert len(names) == len(set(names))


async def test_a_messages_life_is_one_entry_a_call(api: Api) -> None:
    scope = await api.scope()
    queue = await api.queue(scope)
    messages = f"/scopes/{scope['id']}/queues/{queue['slug']}/messages"
    request = {"X-Request-Id": "my-request"}
    made = created(await api.http.post(messages, json={"type": "t", "correlation_id": "c1"}, headers=request))
    batch = {"messages": [{"type": "t"}, {"type": ""}, {"type": "t"}]}
    answer = (await api.http.post(f"{messages}/batch", json=batch)).json()["data"]
    ids = [item["id"] for item in answer if "id" in item]
    claimed = (await api.http.post(f"{messages}/claim", json={"batch_size": 10})).json()["data"]
    one = f"/scopes/{scope['id']}/messages/{made['id']}"
    await api.http.post(f"{one}/complete")
    rest = {"items": [{"id": id} for id in ids] + [{"id": str(uuid7())}]}
    await api.http.post(f"/scopes/{scope['id']}/messages/release", json=rest)
    failed(await api.http.post(f"{one}/fail"), 409, "SCAIQUEUE_INVALID_STATE")

    calls = await _audit(api, scope)
    assert [call["event_type"] for call in calls] == [
        "fail",
        "release_batch",
        "complete",
        "claim",
        "publish_batch",
        "publish",
        "create_queue",
        "create_scope",
    ]
    publish = _one(calls, "publish")
    key = publish["actor"]["id"]
    assert publish | {"id": "", "at": ""} == {
        "id": "",
        "event_type": "publish",
        "actor": {"type": "api_key", "id": key},
        "address": "127.0.0.1",
        "request_id": "my-request",
        "scope_id": scope["id"],
        "queue": queue["slug"],
        "message_ids": [made["id"]],
        "status": 201,
        "outcome": "OK",
        "refused_items": 0,
        "calls": 1,
        "at": "",
    }
    assert (_one(calls, "publish_batch")["message_ids"], _one(calls, "publish_batch")["refused_items"]) == (
        ids,
        1,
    )
    assert _one(calls, "claim")["message_ids"] == [message["id"] for message in claimed]
    assert _one(calls, "release_batch")["refused_items"] == 1
    refused = _one(calls, "fail")
    assert (refused["outcome"], refused["status"], refused["message_ids"]) == (
        "SCAIQUEUE_INVALID_STATE",
        409,
        [made["id"]],
    )

    assert [call["id"] for call in await _audit(api, scope, event_type="claim")] == [
        _one(calls, "claim")["id"]
    ]
    assert len(await _audit(api, scope, actor=key)) > len(calls)
    assert await _audit(api, scope, actor=str(uuid7())) == []
    touching = await _audit(api, scope, correlation_id="c1")
    assert {call["event_type"] for call in touching} == {"publish", "claim", "complete", "fail"}
    assert await _audit(api, scope, correlation_id="nobody's") == []
    assert {call["queue"] for call in await _audit(api, scope, queue=queue["id"])} == {queue["slug"]}
    refusals = await _audit(api, scope, outcome="SCAIQUEUE_INVALID_STATE")
    assert [call["event_type"] for call in refusals] == ["fail"]
    assert await _audit(api, scope, created_before=scope["created_at"]) == []


async def test_refused_calls_are_recorded_where_they_were_aimed(api: Api) -> None:
    scope = await api.scope()
    queue = await api.queue(scope)
    viewer = await _key(api, "view")
    path = f"/scopes/{scope['slug']}/queues/{queue['slug']}/messages"
    async with api.with_key(viewer["key"]) as client:
        failed(await client.post(path, json={"type": "t"}), 403, "AUTHZ_PERMISSION_DENIED")
    failed(await api.http.post(path, json={"nothing": 1}), 422, "VALIDATION_ERROR")
    failed(await api.http.post(path, content=b"{"), 400, "MALFORMED_JSON")
    by_id = f"/scopes/{scope['id']}/queues/{queue['slug']}/messages"
    async with api.with_key(None) as client:
        for _ in range(3):
            failed(await client.post(by_id, json={"type": "t"}), 401, "AUTH_TOKEN_MISSING")
    async with api.with_key("sgk_nobody_has_this_key_0123456789abcdef") as client:
        failed(await client.get(f"/scopes/{scope['id']}"), 401, "AUTH_TOKEN_INVALID")
    failed(
        await api.http.get(f"/scopes/{scope['id']}/messages/{uuid7()}"), 404, "SCAIQUEUE_MESSAGE_NOT_FOUND"
    )

    calls = await _audit(api, scope)
    by_outcome = {call["outcome"]: call for call in calls}
    denied = by_outcome["AUTHZ_PERMISSION_DENIED"]
    assert (denied["actor"]["id"], denied["status"], denied["event_type"]) == (viewer["id"], 403, "publish")
    assert by_outcome["VALIDATION_ERROR"]["queue"] == queue["slug"]
    assert by_outcome["MALFORMED_JSON"]["status"] == 400
    strangers = [call for call in calls if call["outcome"] == "AUTH_TOKEN_MISSING"]
    assert sum(call["calls"] for call in strangers) == 3
    assert {call["actor"] for call in strangers} == {None}
    assert by_outcome["AUTH_TOKEN_INVALID"]["event_type"] == "get_scope"
    assert by_outcome["SCAIQUEUE_MESSAGE_NOT_FOUND"]["event_type"] == "get_message"


async def test_pages_go_on_without_gaps_and_keys_see_what_is_theirs(api: Api) -> None:
    scope = await api.scope()
    one, two = await api.queue(scope), await api.queue(scope)
    for queue in (one, two, one, two, one):
        created(
            await api.http.post(f"/scopes/{scope['id']}/queues/{queue['id']}/messages", json={"type": "t"})
        )
    whole = [call["id"] for call in await _audit(api, scope, event_type="publish")]
    assert len(whole) == 5
    seen: list[str] = []
    cursor = ""
    while True:
        query = {"limit": 2, "cursor": cursor, "event_type": "publish"}
        answer = (await api.http.get(f"/scopes/{scope['id']}/audit", params=query)).json()
        seen += [call["id"] for call in answer["data"]]
        cursor = answer["meta"]["next_cursor"]
        if cursor is None:
            break
    assert seen == whole

    limited = await _key(api, "view", "manage", scopes=[scope["id"]], queues=[one["id"]])
    async with api.with_key(limited["key"]) as client:
        found = (await client.get(f"/scopes/{scope['id']}/audit")).json()["data"]
        assert {call["queue"] for call in found} == {one["slug"]}
        failed(await client.get("/audit"), 403, "AUTHZ_PERMISSION_DENIED")
    all_of = (await api.http.get("/audit", params={"event_type": "create_key"})).json()["data"]
    assert all_of[0]["scope_id"] is None
    for query in ({"cursor": "eA"}, {"actor": "pat"}, {"event_type": "A"}, {"outcome": "ok"}):
        failed(await api.http.get("/audit", params=query), 422, "VALIDATION_ERROR")


async def test_the_system_queue_shows_the_calls_as_messages(api: Api) -> None:
    scope = await api.scope()
    for _ in range(3):
        await api.queue(scope)
    listed = f"/scopes/{scope['id']}/messages"
    seen: list[dict[str, Any]] = []
    query: dict[str, Any] = {"queue": "_audit", "limit": 2}
    for _ in range(2):
        answer = (await api.http.get(listed, params=query)).json()
        seen += answer["data"]
        query["cursor"] = answer["meta"]["next_cursor"]
    kinds = [message["message_type"] for message in seen]
    assert kinds == ["audit.create_queue"] * 3 + ["audit.create_scope"]
    assert len({message["id"] for message in seen}) == 4
    assert (seen[0]["queue"], seen[0]["state"], seen[0]["body"]["outcome"]) == ("_audit", "completed", "OK")


async def test_a_trace_goes_across_queues_and_into_the_archive(api: Api) -> None:
    scope = await api.scope()
    first, second = await api.queue(scope), await api.queue(scope)
    ids = []
    for queue in (first, second):
        path = f"/scopes/{scope['id']}/queues/{queue['id']}/messages"
        message = {"type": "t", "correlation_id": "order/1", "durability": "committed"}
        ids.append(created(await api.http.post(path, json=message))["id"])
        (held,) = (await api.http.post(f"{path}/claim")).json()["data"]
        await api.http.post(f"/scopes/{scope['id']}/messages/{held['id']}/complete")
    trace = f"/scopes/{scope['id']}/audit/trace/order/1"
    before = (await api.http.get(trace)).json()["data"]
    with sqlite3.connect(api.server.folder / "rows.db", timeout=15) as rows:
        columns = [line[1] for line in rows.execute("PRAGMA table_info(mod_scaiqueue_message_archive)")]
        listed = ",".join(columns)
        rows.execute(
            f"INSERT INTO mod_scaiqueue_message_archive ({listed}) "
            f"SELECT {listed} FROM mod_scaiqueue_messages WHERE id=?",
            (ids[0],),
        )
        rows.execute("DELETE FROM mod_scaiqueue_messages WHERE id=?", (ids[0],))
    after = (await api.http.get(trace)).json()["data"]
    assert after == before
    assert [(step["message_id"], step["event"]) for step in after] == [
        (id, event) for id in ids for event in ("published", "claimed", "completed")
    ]
    versions = [tuple(map(int, step["version"].split("-"))) for step in after]
    assert versions == sorted(versions)


async def test_what_can_not_be_recorded_is_not_done(redis_server: RedisServer) -> None:
    settings = {"redis_url": redis_server.url, "api_key": FIRST_KEY, "shards": "1"}
    with ApiServer(**settings, audit_buffer_bytes=str(2**20)) as server:
        headers = {"Authorization": f"Bearer {FIRST_KEY}"}
        async with httpx.AsyncClient(base_url=server.url + BASE, headers=headers, timeout=30) as client:
            api = Api(client, server, redis_server)
            scope = await api.scope()
            queue = await api.queue(scope)
            messages = f"/scopes/{scope['id']}/queues/{queue['id']}/messages"
            batch = {"messages": [{"type": "t"}] * 1000}
            assert (await client.post(f"{messages}/batch", json=batch)).status_code == 200
            with sqlite3.connect(server.folder / "rows.db", timeout=15) as rows:
                rows.execute("BEGIN IMMEDIATE")
                answer = await client.post(f"{messages}/claim", json={"batch_size": 1000})
                while answer.status_code == 200:
                    items = {"items": [{"id": message["id"]} for message in answer.json()["data"]]}
                    answer = await client.post(f"/scopes/{scope['id']}/messages/release", json=items)
                    if answer.status_code == 200:
                        answer = await client.post(f"{messages}/claim", json={"batch_size": 1000})
                error = failed(answer, 503, "SCAIQUEUE_UNAVAILABLE")
                assert "audit" in error["message"]
                metrics = (await client.get(server.url + "/metrics")).text
                assert "scaiqueue_audit_turned_away_total 1.0" in metrics
                rows.rollback()

            async def answers() -> bool:
                return (await client.get(f"/scopes/{scope['id']}/audit")).status_code == 200

            await eventually(answers)
