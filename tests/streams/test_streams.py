"""From the first chunk to the message, over HTTP."""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Any

from scaiqueue.keys import ScopeKeys, Shard
from scaiqueue.scripts import binding
from tests.api.conftest import Api, created, failed
from tests.eventually import eventually
from tests.scripts.shard import run
from tests.streams.site import Site, read


async def test_chunks_become_a_message(api: Api) -> None:
    site = await Site.of(api)
    stream = await site.open(labels={"model": "m1"}, correlation_id="c1", priority={"tier": "high"})
    assert (await site.send(stream, 1, "world"))["gap"] is True
    told = await site.send(stream, 0, "Hällo, ")
    assert (told["next_missing"], told["highest_seq"], told["gap"]) == (2, 1, False)
    assert told["results"] == [{"seq": 0, "result": "stored"}]
    closed = await site.close(stream)
    assert closed["state"] == "assembled"
    message = await site.get(f"{site.scope}/messages/{closed['message_id']}")
    assert b64decode(message["body"]).decode() == "Hällo, world"
    assert (message["queue"], message["message_type"], message["state"]) == (site.queue, "answer", "pending")
    assert message["content_type"] == "text/plain; charset=utf-8"
    assert (message["labels"], message["correlation_id"]) == ({"model": "m1"}, "c1")
    assert (message["priority_tier"], message["idempotency_key"]) == ("high", closed["id"])
    assert await site.close(stream) == closed
    assert await site.get(stream) == closed
    (listed,) = (await api.http.get(f"{site.scope}/streams")).json()["data"]
    assert listed["id"] == closed["id"]
    claimed = await api.http.post(f"{site.scope}/queues/{site.queue}/messages/claim")
    assert [m["id"] for m in claimed.json()["data"]] == [closed["message_id"]]


async def test_json_and_bytes_stay_as_they_came(api: Api) -> None:
    site = await Site.of(api)
    stream = await site.open(content_type="application/json")
    text = '{"b": 1.0, "a":[ ]}'
    for seq, piece in enumerate(text):
        await site.send(stream, seq, piece)
    closed = await site.close(stream)
    answer = await api.http.get(f"{site.scope}/messages/{closed['message_id']}")
    assert f'"body":{text},'.encode() in answer.content

    data = bytes(range(256)) * 3
    stream = await site.open(content_type="application/octet-stream")
    chunks = [
        {"seq": seq, "data": b64encode(data[at : at + 100]).decode()}
        for seq, at in enumerate(range(0, len(data), 100))
    ]
    told = read(await api.http.post(f"{stream}/chunks", json={"chunks": chunks[::-1]}))
    assert {item["result"] for item in told["results"]} == {"stored"}
    message = await site.get(f"{site.scope}/messages/{(await site.close(stream))['message_id']}")
    assert b64decode(message["body"]) == data
    whole = await site.get(f"{stream}/assembled")
    assert (b64decode(whole["data"]), whole["encoding"], whole["complete"]) == (data, "base64", True)


async def test_gaps_are_told_and_what_is_not_there_is_not_closed(api: Api) -> None:
    site = await Site.of(api)
    stream = await site.open()
    for seq in (1, 2, 5):
        await site.send(stream, seq, str(seq), final=seq == 5)
    seen = await site.get(stream)
    assert seen["missing"] == [{"first": 0, "last": 0}, {"first": 3, "last": 4}]
    assert (seen["next_missing"], seen["final_seq"], seen["chunks"]) == (0, 5, 3)
    error = failed(await api.http.post(f"{stream}/close"), 409, "SCAIQUEUE_STREAM_INCOMPLETE")
    assert [detail["message"] for detail in error["details"]] == ["0", "3 to 4"]
    assert (await site.get(f"{stream}/assembled"))["data"] == ""
    await site.send(stream, 0, "0")
    whole = await site.get(f"{stream}/assembled")
    assert (whole["data"], whole["complete"]) == ("012", False)


async def test_an_empty_stream_is_an_empty_message(api: Api) -> None:
    site = await Site.of(api)
    closed = await site.close(await site.open())
    assert (await site.get(f"{site.scope}/messages/{closed['message_id']}"))["body"] == ""


async def test_chunks_that_are_not_taken(api: Api) -> None:
    site = await Site.of(api)
    stream = await site.open(max_bytes=10, max_chunks=5)
    await site.send(stream, 0, "abc")
    assert (await site.send(stream, 0, "abc"))["results"] == [{"seq": 0, "result": "duplicate"}]
    await site.refused(stream, {"seq": 0, "data": "xyz"}, 409, "SCAIQUEUE_CHUNK_CONFLICT")
    await site.refused(stream, {"seq": 1, "data": "12345678"}, 413, "SCAIQUEUE_STREAM_FULL")
    await site.refused(stream, {"seq": 5, "data": "x"}, 413, "SCAIQUEUE_STREAM_FULL")
    await site.send(stream, 3, "d", final=True)
    await site.refused(stream, {"seq": 4, "data": "e"}, 409, "SCAIQUEUE_CHUNK_CONFLICT")
    await site.refused(stream, {"seq": 2, "data": "e", "final": True}, 409, "SCAIQUEUE_CHUNK_CONFLICT")
    told = read(
        await api.http.post(
            f"{stream}/chunks",
            json={"chunks": [{"seq": 1, "data": "b"}, {"seq": 0, "data": "?"}, {"seq": 1, "data": "b"}]},
        )
    )
    stored, conflict, duplicate = told["results"]
    assert (stored["result"], duplicate["result"]) == ("stored", "duplicate")
    assert conflict["error"]["code"] == "SCAIQUEUE_CHUNK_CONFLICT"


WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "seq"),
    ({"seq": 0}, "data"),
    ({"seq": -1, "data": ""}, "seq"),
    ({"seq": 10_000, "data": ""}, "seq"),
    ({"seq": 0, "data": "a", "chunks": []}, "chunks"),
    ({"chunks": []}, "chunks"),
    ({"chunks": [{"seq": 0, "data": "a"}, {"seq": 1, "data": "b" * 65_537}]}, "chunks[1].data"),
    ({"chunks": [{"seq": 0, "data": "a"}] * 1001}, "chunks"),
    ({"seq": 0, "data": "a", "last": True}, "last"),
]


async def test_malformed_chunks(api: Api) -> None:
    site = await Site.of(api)
    stream = await site.open()
    for body, field in WRONG:
        error = await site.refused(stream, body, 422, "VALIDATION_ERROR")
        assert field in [detail["field"] for detail in error["details"]], (body, error)
    binary = await site.open(content_type="image/png")
    error = await site.refused(binary, {"seq": 0, "data": "?"}, 422, "VALIDATION_ERROR")
    assert error["details"][0]["field"] == "data"
    assert (await site.get(stream))["chunks"] == 0


async def test_streams_that_can_not_be_opened(api: Api) -> None:
    site = await Site.of(api)
    path = f"{site.scope}/streams"
    wrong: list[tuple[dict[str, Any], int, str]] = [
        ({"queue": "nowhere"}, 404, "SCAIQUEUE_QUEUE_NOT_FOUND"),
        ({"queue": "_dead_letter"}, 403, "SCAIQUEUE_SYSTEM_QUEUE_READONLY"),
        ({"max_bytes": 1 << 30}, 422, "VALIDATION_ERROR"),
        ({"max_chunks": 10_001}, 422, "VALIDATION_ERROR"),
        ({"idle_timeout_s": 0.1}, 422, "VALIDATION_ERROR"),
        ({"labels": {f"{n}": "x" * 256 for n in range(64)}}, 422, "VALIDATION_ERROR"),
        ({"schema": "nothing@1"}, 404, "SCAIQUEUE_SCHEMA_NOT_FOUND"),
        ({"hitl_pattern": {"name": "nothing"}}, 404, "SCAIQUEUE_PATTERN_NOT_FOUND"),
        ({"deadline": "2199-01-01T00:00:00Z"}, 422, "VALIDATION_ERROR"),
        ({"body": "x"}, 422, "VALIDATION_ERROR"),
    ]
    for said, status, code in wrong:
        body = {"queue": site.queue, "type": "answer", **said}
        failed(await api.http.post(path, json=body), status, code)
    assert (await api.http.get(path)).json()["data"] == []


async def test_what_is_not_there_is_not_found(api: Api) -> None:
    site = await Site.of(api)
    other = await Site.of(api)
    stream = (await other.open()).rpartition("/")[2]
    for name in (stream, "x", "01900000-0000-7000-8000-000000000000"):
        path = f"{site.scope}/streams/{name}"
        for answer in (
            await api.http.get(path),
            await api.http.get(f"{path}/chunks"),
            await api.http.get(f"{path}/chunks", headers={"Accept": "text/event-stream"}),
            await api.http.get(f"{path}/assembled"),
            await api.http.post(f"{path}/chunks", json={"seq": 0, "data": ""}),
            await api.http.post(f"{path}/close"),
            await api.http.post(f"{path}/abort"),
        ):
            failed(answer, 404, "SCAIQUEUE_STREAM_NOT_FOUND")


async def test_an_aborted_stream_takes_nothing_and_becomes_nothing(api: Api) -> None:
    site = await Site.of(api)
    stream = await site.open()
    await site.send(stream, 0, "a")
    aborted = read(await api.http.post(f"{stream}/abort", json={"reason": "the model is gone"}))
    assert (aborted["state"], aborted["reason"], aborted["message_id"]) == (
        "aborted", "the model is gone", None,
    )  # fmt: skip
    assert read(await api.http.post(f"{stream}/abort")) == aborted
    await site.refused(stream, {"seq": 1, "data": "b"}, 409, "SCAIQUEUE_INVALID_STATE")
    failed(await api.http.post(f"{stream}/close"), 409, "SCAIQUEUE_INVALID_STATE")
    assert (await api.http.get(f"{site.scope}/messages")).json()["data"] == []
    closed = await site.open()
    await site.close(closed)
    failed(await api.http.post(f"{closed}/abort"), 409, "SCAIQUEUE_INVALID_STATE")
    await site.refused(closed, {"seq": 0, "data": "b"}, 409, "SCAIQUEUE_INVALID_STATE")


async def test_nobody_writes(api: Api) -> None:
    """Whoever comes after the idle time is told, with or without the agent."""
    site = await Site.of(api)
    stream = await site.open(idle_timeout_s=1)
    await site.send(stream, 1, "a")

    async def told() -> dict[str, Any]:
        return failed(await api.http.post(f"{stream}/close"), 409, "SCAIQUEUE_INVALID_STATE")

    await eventually(told, interval=0.1)
    seen = await site.get(stream)
    assert (seen["state"], seen["reason"]) == ("aborted", "idle")


async def test_a_paused_queue_gets_its_message_later(api: Api) -> None:
    site = await Site.of(api)
    queue = f"{site.scope}/queues/{site.queue}"
    stream = await site.open()
    await site.send(stream, 0, "a")
    read(await api.http.post(f"{queue}/pause"))
    answer = await api.http.post(f"{stream}/close")
    assert (answer.status_code, answer.json()["data"]["state"]) == (202, "closed")
    read(await api.http.post(f"{queue}/resume"))

    async def assembled() -> bool:
        return bool((await site.get(stream))["state"] == "assembled")

    await eventually(assembled)
    read(await api.http.post(f"{site.scope}/pause"))
    failed(
        await api.http.post(f"{site.scope}/streams", json={"queue": site.queue, "type": "t"}),
        409,
        "SCAIQUEUE_SCOPE_PAUSED",
    )


async def test_what_no_publish_takes_fails(api: Api) -> None:
    site = await Site.of(api)
    schema = {"name": "order", "schema": {"type": "object", "required": ["id"]}, "mode": "enforce"}
    created(await api.http.post(f"{site.scope}/schemas", json=schema))
    for content, code in (("[]", "SCAIQUEUE_SCHEMA_VALIDATION_FAILED"), ("{", "VALIDATION_ERROR")):
        stream = await site.open(content_type="application/json", schema="order@1")
        await site.send(stream, 0, content)
        failed(await api.http.post(f"{stream}/close"), 422, code)
        failed(await api.http.post(f"{stream}/close"), 422, code)
        seen = await site.get(stream)
        assert (seen["state"], seen["reason"].partition(":")[0]) == ("failed", code)
        assert (await site.get(f"{stream}/assembled"))["data"] == content


async def test_its_message_may_await_a_human(api: Api) -> None:
    site = await Site.of(api)
    spec = {"sections": [{"type": "decision", "field": "ok", "options": ["yes", "no"]}]}
    closed = await site.close(await site.open(hitl_spec=spec))
    assert (await site.get(f"{site.scope}/messages/{closed['message_id']}"))["state"] == "awaiting_review"


async def test_keys_of_other_queues(api: Api) -> None:
    site = await Site.of(api)
    stream = await site.open()
    key = {"name": "k", "permissions": ["scaiqueue:publish", "scaiqueue:view"], "scopes": [site.scope_id]}
    other = await api.queue({"id": site.scope_id})
    secret = created(await api.http.post("/api-keys", json={**key, "queues": [other["id"]]}))["key"]
    async with api.with_key(secret) as http:
        for answer in (await http.get(stream), await http.post(f"{stream}/close")):
            failed(answer, 403, "AUTHZ_PERMISSION_DENIED")
        assert (await http.get(f"{site.scope}/streams")).json()["data"] == []


async def test_a_scope_with_a_live_stream_is_not_removed(api: Api) -> None:
    site = await Site.of(api)
    stream = await site.open()
    await site.send(stream, 0, "a")
    failed(await api.http.delete(site.scope), 409, "SCAIQUEUE_NOT_EMPTY")
    assert (await api.http.delete(f"{site.scope}?force=true")).status_code in (200, 204)
    assert not list(api.redis.client().scan_iter(f"*{site.scope_id}:stream:*"))


async def test_ten_thousand_chunks(api: Api) -> None:
    """Sent from the last to the first, so that all gaps close with the last call."""
    site = await Site.of(api)
    stream = await site.open()
    pieces = [f"{seq:04d}." for seq in range(10_000)]
    calls = [range(at, at + 1000) for at in range(0, 10_000, 1000)]
    for seqs in reversed(calls):
        chunks = [{"seq": seq, "data": pieces[seq]} for seq in reversed(seqs)]
        told = read(await api.http.post(f"{stream}/chunks", json={"chunks": chunks}))
    assert (told["next_missing"], told["chunks"], told["gap"]) == (10_000, 10_000, False)
    closed = await site.close(stream)
    message = await site.get(f"{site.scope}/messages/{closed['message_id']}")
    assert b64decode(message["body"]).decode() == "".join(pieces)
    async with site.events(stream, last="9997") as events:
        assert [event["data"] async for event in events][-1] == "[DONE]"


async def test_when_the_servers_take_no_more(api: Api) -> None:
    """Neither rows that are too far behind nor a full Redis keep a stream from being ended."""
    site = await Site.of(api)
    stream, other = await site.open(), await site.open()
    shard = read(await api.http.get(site.scope))["shard"]
    redis, limits = api.redis.client(), f"sq:{{{shard}}}:limits"
    before = redis.hget(limits, "backlog_limit")
    chunk = {"seq": 0, "data": "a"}
    try:
        redis.hset(limits, "backlog_limit", 0)
        await site.refused(stream, chunk, 503, "SCAIQUEUE_BACKLOG_FULL")
        assert read(await api.http.post(f"{stream}/abort"))["state"] == "aborted"
        redis.hset(limits, "backlog_limit", before)
        redis.config_set("maxmemory", 1)
        await site.refused(other, chunk, 429, "SCAIQUEUE_MEMORY_FULL")
        assert read(await api.http.post(f"{other}/abort"))["state"] == "aborted"
    finally:
        redis.config_set("maxmemory", 0)
        redis.hset(limits, "backlog_limit", before)


async def test_whoever_dies_the_message_exists_once(api: Api) -> None:
    """Closed, but not published; and published, but the stream not told."""
    site = await Site.of(api)
    shard = read(await api.http.get(site.scope))["shard"]
    scope = ScopeKeys(Shard(shard), "default", site.scope_id)
    first, second = await site.open(), await site.open()
    for stream in (first, second):
        await site.send(stream, 0, "a")
    keys = scope.stream(first.rpartition("/")[2])
    run(api.redis.client(), binding.stream_call(scope, keys, "close", "t", "", "", "", "", "", []))

    async def assembled() -> bool:
        return bool((await site.get(first))["state"] == "assembled")

    await eventually(assembled)
    said = {"type": "answer", "content_type": "text/plain; charset=utf-8", "body": "YQ=="}
    published = created(
        await api.http.post(
            f"{site.scope}/queues/{site.queue}/messages",
            json={**said, "idempotency_key": second.rpartition("/")[2]},
        )
    )
    assert (await site.close(second))["message_id"] == published["id"]
    assert len((await api.http.get(f"{site.scope}/messages")).json()["data"]) == 2
