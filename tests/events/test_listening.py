"""Listening to a scope over Server-Sent Events and WebSocket."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import msgspec
import pytest
from sqlalchemy import delete, insert

from scaiqueue.api.endpoint import BASE
from scaiqueue.rows.engine import open_engine
from scaiqueue.rows.event_tables import event_horizons
from tests.api.conftest import FIRST_KEY, Api, created, failed
from tests.events.conftest import Ground, kinds, take


async def test_a_messages_life_is_told_in_order(ground: Ground) -> None:
    async with ground.listen() as events:
        (message_id,) = await ground.publish(correlation_id="c-1")
        (message,) = await ground.claim()
        await ground.settle("extend", message, visibility_timeout_s=60)
        await ground.settle("fail", message, reason="closed", retry_after_s=0)
        await ground.settle("release", (await ground.claim())[0])
        await ground.settle("complete", (await ground.claim())[0], response={"shipped": True})
        told = await take(events, 8)
    assert kinds(told) == [
        "published", "claimed", "extended", "failed", "claimed", "released", "claimed", "completed",
    ]  # fmt: skip
    first, last = told[0].event, told[-1].event
    assert set(first) == {"event_type", "event_id", "source", "tenant_id", "payload", "timestamp"}
    assert (first["source"], first["tenant_id"]) == ("scaiqueue", "default")
    assert len({frame.event["event_id"] for frame in told}) == 8
    assert {frame.event["payload"]["message_id"] for frame in told} == {message_id}
    assert {frame.event["payload"]["correlation_id"] for frame in told} == {"c-1"}
    assert last["payload"]["response"] == {"shipped": True}
    assert "response" not in first["payload"]
    assert told[3].event["payload"]["detail"] == "closed"


async def test_a_listener_that_comes_back_misses_nothing(ground: Ground) -> None:
    async with ground.listen() as events:
        ids = await ground.publish(10)
        seen = await take(events, 4)  # within one entry of the journal
    await ground.publish(2)
    async with ground.listen(seen[-1].id) as events:
        seen += await take(events, 8)
    assert [frame.event["payload"]["message_id"] for frame in seen[:10]] == ids
    async with ground.listen("0") as events:
        everything = await take(events, 14)
    assert kinds(everything)[:2] == ["scope.created", "queue.created"]
    assert everything[2:] == seen


async def test_conditions(ground: Ground) -> None:
    other = await ground.api.queue(ground.scope)
    conditions: dict[str, dict[str, str]] = {
        "published": {"type": "scaiqueue.message.published"},
        "other": {"queue": other["slug"]},
        "mine": {"correlation_id": "mine"},
        "none of these": {"type": "hitl.*,scaiqueue.message.claimed"},
    }
    async with ground.listen() as events:
        await ground.publish(1, correlation_id="mine")
        await ground.publish(1)
        path = f"{ground.path}/queues/{other['id']}/messages"
        await ground.api.http.post(path, json={"type": "t", "body": 1})
        (message,) = await ground.claim()
        await ground.settle("complete", message)
        everything = await take(events, 5)
    found = {}
    for name, query in conditions.items():
        async with ground.listen("0", **query) as events:
            found[name] = await take(events, 1 if name in ("other", "none of these") else 2)
    assert kinds(found["published"]) == ["published", "published"]
    assert [frame.event["payload"]["queue"] for frame in found["other"]] == [other["slug"]]
    assert found["mine"] == [everything[0], everything[3]]
    assert kinds(found["none of these"]) == ["claimed"]


async def test_changes_of_scopes_and_queues_are_told(ground: Ground) -> None:
    http = ground.api.http
    async with ground.listen() as events:
        queue = f"{ground.path}/queues/{ground.queue['id']}"
        await http.patch(queue, json={"max_depth": 7})
        for verb in ("drain", "pause", "resume", "archive", "unarchive"):
            assert (await http.post(f"{queue}/{verb}")).status_code == 200
        await http.patch(ground.path, json={"display_name": "Another"})
        await http.post(f"{ground.path}/pause")
        await http.post(f"{ground.path}/resume")
        assert (await http.delete(queue)).status_code == 200
        told = await take(events, 11)
    assert kinds(told) == [
        "queue.updated", "queue.draining", "queue.paused", "queue.resumed", "queue.archived",
        "queue.unarchived", "scope.updated", "scope.paused", "scope.resumed", "queue.archived",
        "queue.deleted",
    ]  # fmt: skip
    assert told[0].event["payload"]["queue"] == ground.queue["slug"]
    assert told[0].event["payload"]["changed"] == ["settings"]
    assert told[6].event["payload"]["scope"] == ground.scope["slug"]


async def test_a_decision_is_told_as_such_and_as_the_end(ground: Ground) -> None:
    spec = {"sections": [{"type": "decision", "field": "d", "options": ["yes", "no"]}], "timeout_s": 60}
    async with ground.listen() as events:
        (message_id,) = await ground.publish(hitl_spec=spec)
        answer = await ground.api.http.post(
            f"{ground.path}/messages/{message_id}/decision", json={"decision": "yes", "reviewer": "ada"}
        )
        assert answer.status_code == 200
        told = await take(events, 3)
    assert kinds(told) == ["published", "hitl.decided", "completed"]
    assert told[1].event["payload"]["response"]["decision"] == "yes"
    assert told[1].event["payload"] == told[2].event["payload"]
    assert told[1].event["event_id"] != told[2].event["event_id"]


async def test_what_is_wrong_is_refused(ground: Ground, api: Api) -> None:
    path = f"{ground.path}/events"
    for query, field in (
        ({"type": "scaiqueue.message.complete"}, "type"),
        ({"last_event_id": "yesterday"}, "last_event_id"),
        ({"since": "0"}, "since"),
    ):
        error = failed(await api.http.get(path, params=query), 422, "VALIDATION_ERROR")
        assert error["details"][0]["field"] == field
    failed(await api.http.get(path, params={"queue": "nothing"}), 404, "SCAIQUEUE_QUEUE_NOT_FOUND")
    failed(await api.http.get(path, headers={"Last-Event-ID": "9.9999.0.0"}), 410, "SCAIQUEUE_EVENTS_GONE")


async def test_events_that_are_kept_no_longer_are_not_passed_over(ground: Ground, api: Api) -> None:
    await ground.publish()
    async with ground.listen("0") as events:
        (first,) = await take(events, 1)
    shard = ground.scope["shard"]
    engine = open_engine(api.server.database_url)
    try:
        async with engine.begin() as conn:
            await conn.execute(insert(event_horizons).values(shard=shard, epoch=1, n=10**9))
        answer = await api.http.get(f"{ground.path}/events", headers={"Last-Event-ID": first.id})
        error = failed(answer, 410, "SCAIQUEUE_EVENTS_GONE")
        assert error["retryable"] is False
    finally:
        async with engine.begin() as conn:
            await conn.execute(delete(event_horizons))
        await engine.dispose()


async def test_a_key_that_is_limited_to_queues_hears_of_them_alone(ground: Ground, api: Api) -> None:
    other = await api.queue(ground.scope)
    limits = {"scopes": [ground.scope["id"]], "queues": [other["id"]]}
    key = created(
        await api.http.post("/api-keys", json={"name": "k", "permissions": ["scaiqueue:view"], **limits})
    )
    await ground.publish()
    await api.http.post(f"{ground.path}/queues/{other['id']}/messages", json={"type": "t", "body": 1})
    async with api.with_key(key["key"]) as client:
        limited = Ground(api._replace(http=client), ground.scope, other)
        async with limited.listen("0") as events:
            told = await take(events, 2)
    assert kinds(told) == ["queue.created", "published"]
    assert {frame.event["payload"]["queue"] for frame in told} == {other["slug"]}


async def test_a_revoked_key_hears_no_more(ground: Ground, api: Api) -> None:
    key = created(await api.http.post("/api-keys", json={"name": "k", "permissions": ["scaiqueue:view"]}))
    async with api.with_key(key["key"]) as client:
        listener = Ground(api._replace(http=client), ground.scope, ground.queue)
        async with listener.listen() as events:
            await api.http.post(f"/api-keys/{key['id']}/revoke")
            frames = [frame async for frame in events if frame.event]
    assert [frame.event["code"] for frame in frames] == ["AUTH_TOKEN_INVALID"]


async def test_a_listener_that_does_not_read_holds_up_nobody(ground: Ground) -> None:
    """What it has not taken is no further than the sockets' buffers; the rest it reads from the rows."""
    messages, rounds = 1000, 6
    async with ground.listen() as idle, ground.listen() as events:
        reading = asyncio.create_task(take(events, messages * rounds))
        for _ in range(rounds):
            await ground.publish(messages, correlation_id="x" * 200)
        seen = await reading
        assert await take(idle, messages * rounds) == seen


def _socket_url(ground: Ground, **query: str) -> str:
    asked = "&".join(f"{name}={value}" for name, value in query.items())
    return f"{ground.api.server.url.replace('http', 'ws')}{BASE}{ground.path}/events?{asked}"


async def _frames(socket: aiohttp.ClientWebSocketResponse, count: int) -> list[Any]:
    return [msgspec.json.decode((await socket.receive()).data) for _ in range(count)]


async def test_the_same_over_websocket(ground: Ground) -> None:
    headers = {"Authorization": f"Bearer {FIRST_KEY}"}
    ids = await ground.publish(6)
    async with aiohttp.ClientSession(headers=headers) as session:
        type_ = "scaiqueue.message.published"
        async with session.ws_connect(_socket_url(ground, last_event_id="0", type=type_)) as socket:
            first = await _frames(socket, 3)
        async with session.ws_connect(
            _socket_url(ground, type=type_), headers={"Last-Event-ID": first[-1]["id"]}
        ) as socket:
            rest = await _frames(socket, 3)
            ids += await ground.publish(1)
            rest += await _frames(socket, 1)
    told = first + rest
    assert [frame["event"]["payload"]["message_id"] for frame in told] == ids
    assert {frame["event"]["event_type"] for frame in told} == {type_}


@pytest.mark.parametrize(
    ("key", "query", "status", "code"),
    [
        ("", {}, 401, "AUTH_TOKEN_MISSING"),
        ("sgk_unknown", {}, 401, "AUTH_TOKEN_INVALID"),
        (FIRST_KEY, {"type": "nothing"}, 422, "VALIDATION_ERROR"),
    ],
)
async def test_a_socket_is_closed_with_the_reason(
    ground: Ground, key: str, query: dict[str, str], status: int, code: str
) -> None:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    async with (
        aiohttp.ClientSession(headers=headers) as session,
        session.ws_connect(_socket_url(ground, **query)) as socket,
    ):
        (said,) = await _frames(socket, 1)
        assert said["error"]["code"] == code
        closed = await socket.receive()
    assert (closed.type, closed.data, closed.extra) == (aiohttp.WSMsgType.CLOSE, 4000 + status, code)


async def test_what_happens_to_a_stream_is_told(ground: Ground) -> None:
    asked = {"queue": ground.queue["slug"], "type": "answer"}
    async with ground.listen(type="stream.*") as events:
        stream = created(await ground.api.http.post(f"{ground.path}/streams", json=asked))
        path = f"{ground.path}/streams/{stream['id']}"
        for seq, final in enumerate((False, True)):
            chunk = {"seq": seq, "data": "ab", "final": final}
            assert (await ground.api.http.post(f"{path}/chunks", json=chunk)).status_code == 200
        assert (await ground.api.http.post(f"{path}/close")).status_code == 200
        told = await take(events, 4)
    assert kinds(told) == ["stream.opened", "stream.appended", "stream.appended", "stream.closed"]
    assert {frame.event["payload"]["stream_id"] for frame in told} == {stream["id"]}
    assert (told[1].event["payload"]["chunks"], told[1].event["payload"]["bytes"]) == (1, 2)
