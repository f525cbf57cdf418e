"""Messages over HTTP, from publish to their end."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest

from tests.api.conftest import Api, created, failed

BODIES = [
    b"[]",
    b"{}",
    b"null",
    b'""',
    b"12345678901234567890123456789012345678901234567890",
    b"1e400",
    b'"\\u0000"',
    b'{"a" :  1,\n "a": 2}',
    '"emoji \U0001f600 é"'.encode(),
    b'"' + b"x" * (256 * 1024 - 2) + b'"',
]


async def _published(api: Api, scope: Any, queue: Any, **fields: Any) -> dict[str, Any]:
    body = {"type": "t", "body": {"n": 1}, **fields}
    return created(await api.http.post(f"/scopes/{scope['id']}/queues/{queue['id']}/messages", json=body))


async def _claimed(api: Api, scope: Any, queue: Any, **fields: Any) -> list[dict[str, Any]]:
    answer = await api.http.post(f"/scopes/{scope['id']}/queues/{queue['id']}/messages/claim", json=fields)
    assert answer.status_code == 200, answer.text
    data: list[dict[str, Any]] = answer.json()["data"]
    return data


async def test_the_whole_way_of_a_message(api: Api) -> None:
    scope = await api.scope()
    queue = await api.queue(scope, ordering="priority")
    sent = await _published(
        api,
        scope,
        queue,
        priority={"tier": "high", "score": 700},
        labels={"region": "eu"},
        correlation_id="c1",
        source={"type": "shop", "id": "s1"},
        ttl_seconds=60,
    )
    assert sent["state"] == "pending"
    assert sent["priority_tier"] == "high"
    assert sent["priority_score"] == 700
    assert sent["queue_id"] == queue["id"]
    read = (await api.http.get(f"/scopes/{scope['id']}/messages/{sent['id']}")).json()["data"]
    assert read == sent
    depths = (await api.http.get(f"/scopes/{scope['id']}/queues/{queue['id']}")).json()["data"]
    assert (depths["depth_pending"], depths["depth_claimed"]) == (1, 0)
    assert depths["oldest_age_s"] >= 0
    (message,) = await _claimed(api, scope, queue, batch_size=1, visibility_timeout_s=60)
    assert message["id"] == sent["id"]
    assert message["attempts"] == 1
    assert message["labels"] == {"region": "eu"}
    assert message["body"] == {"n": 1}
    assert message["claimed_by"]["type"] == "api_key"
    done = await api.http.post(
        f"/scopes/{scope['id']}/messages/{message['id']}/complete",
        json={"response": {"shipped": True}, "claim_token": message["claim_token"]},
    )
    assert done.json()["data"] == {"id": sent["id"], "state": "completed", "queue": queue["slug"]}
    end = (await api.http.get(f"/scopes/{scope['id']}/messages/{sent['id']}")).json()["data"]
    assert end["state"] == "completed"
    assert end["response"] == {"shipped": True}
    assert end["completed_at"]
    assert await _claimed(api, scope, queue) == []


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:20]))
async def test_body_bytes_are_untouched(api: Api, body: bytes) -> None:
    scope = await api.scope()
    queue = await api.queue(scope)
    path = f"/scopes/{scope['id']}/queues/{queue['id']}/messages"
    sent = await api.http.post(path, content=b'{"type": "t", "body": ' + body + b"}")
    created(sent)
    assert b'"body":' + body in sent.content
    claimed = await api.http.post(path + "/claim")
    assert b'"body":' + body in claimed.content


async def test_other_content_travels_as_base64(api: Api) -> None:
    scope = await api.scope()
    queue = await api.queue(scope)
    content = bytes(range(256))
    sent = await _published(
        api, scope, queue, content_type="image/png", body=base64.b64encode(content).decode()
    )
    (message,) = await _claimed(api, scope, queue)
    assert message["content_type"] == sent["content_type"] == "image/png"
    assert message["body_encoding"] == "base64"
    assert base64.b64decode(message["body"]) == content
    path = f"/scopes/{scope['id']}/queues/{queue['id']}/messages"
    wrong = await api.http.post(path, json={"type": "t", "content_type": "text/plain", "body": "no base64!"})
    assert failed(wrong, 422, "VALIDATION_ERROR")["details"][0]["field"] == "body"


async def test_idempotency_keys(api: Api) -> None:
    scope = await api.scope()
    queue = await api.queue(scope)
    path = f"/scopes/{scope['id']}/queues/{queue['id']}/messages"
    first = await _published(api, scope, queue, idempotency_key="k")
    again = await api.http.post(
        path, content=b'{"type":"t","body":{"n": 1 }}', headers={"Idempotency-Key": "k"}
    )
    assert again.status_code == 409
    again = await api.http.post(path, json={"type": "t", "body": {"n": 1}}, headers={"Idempotency-Key": "k"})
    assert again.status_code == 200
    assert again.headers["idempotent-replay"] == "true"
    assert again.json()["data"]["id"] == first["id"]
    other = await api.http.post(path, json={"type": "t", "body": 2, "idempotency_key": "k"})
    error = failed(other, 409, "SCAIQUEUE_IDEMPOTENCY_CONFLICT")
    assert error["details"] == [{"field": "message_id", "message": first["id"]}]


async def test_one_bad_item_of_a_batch_fails_alone(api: Api) -> None:
    scope = await api.scope()
    queue = await api.queue(scope)
    path = f"/scopes/{scope['id']}/queues/{queue['id']}/messages/batch"
    answer = await api.http.post(
        path,
        json={
            "messages": [
                {"type": "a", "body": 1},
                {"type": 2, "body": 1, "x": 1},
                {"type": "c", "body": "x" * (256 * 1024)},
                {"type": "d", "body": 4},
            ]
        },
    )
    assert answer.status_code == 200
    items = answer.json()["data"]
    assert items[0]["state"] == items[3]["state"] == "pending"
    assert items[1]["error"]["code"] == "VALIDATION_ERROR"
    assert sorted(detail["field"] for detail in items[1]["error"]["details"]) == ["type", "x"]
    assert items[2]["error"]["code"] == "SCAIQUEUE_MESSAGE_TOO_LARGE"
    lines = b'{"type":"e","body":[]}\n{"type":"f"\n\n{"type":"g","body":null}\n'
    answer = await api.http.post(path, content=lines, headers={"Content-Type": "application/x-ndjson"})
    items = answer.json()["data"]
    assert [item.get("error", {}).get("code") for item in items] == [None, "MALFORMED_JSON", None]
    claimed = await _claimed(api, scope, queue, batch_size=10)
    assert [message["message_type"] for message in claimed] == ["a", "d", "e", "g"]
    failed(await api.http.post(path, json={"messages": []}), 422, "VALIDATION_ERROR")
    failed(await api.http.post(path, json={"messages": [1] * 1001}), 422, "VALIDATION_ERROR")


async def test_verbs_of_the_holder(api: Api) -> None:
    scope = await api.scope()
    queue = await api.queue(scope, max_retries=2, backoff={"strategy": "fixed", "base_s": 0})
    sent = await _published(api, scope, queue)
    path = f"/scopes/{scope['id']}/messages/{sent['id']}"
    failed(await api.http.post(path + "/complete"), 409, "SCAIQUEUE_INVALID_STATE")
    (message,) = await _claimed(api, scope, queue)
    stale = {"claim_token": message["claim_token"]}
    extended = (await api.http.post(path + "/extend", json={"visibility_timeout_s": 600})).json()["data"]
    assert extended["lease_expires_at"] > message["lease_expires_at"]
    assert extended["cancel_requested"] is False
    released = await api.http.post(path + "/release", json=stale)
    assert released.json()["data"] == {"id": sent["id"], "state": "pending", "queue": queue["slug"]}
    (message,) = await _claimed(api, scope, queue, consumer_id="worker 1")
    assert message["attempts"] == 1
    assert message["claimed_by"]["id"].endswith("/worker 1")
    failed(await api.http.post(path + "/complete", json=stale), 409, "SCAIQUEUE_CLAIM_LOST")
    failed(await api.http.post(path + "/complete"), 409, "SCAIQUEUE_CLAIM_LOST")
    retried = await api.http.post(path + "/fail", json={"consumer_id": "worker 1", "reason": "no luck"})
    assert retried.json()["data"]["queue"] == queue["slug"]
    (message,) = await _claimed(api, scope, queue)
    assert message["failure_reason"] == "no luck"
    dead = await api.http.post(path + "/fail", json={"claim_token": message["claim_token"], "reason": "out"})
    assert dead.json()["data"]["queue"] == "_dead_letter"
    read = (await api.http.get(path)).json()["data"]
    assert read["origin"]["queue"] == queue["slug"]
    assert read["origin"]["attempts"] == 2
    assert read["queue"] == "_dead_letter"


async def test_repeating_a_verb_with_its_token_answers_the_same(api: Api) -> None:
    scope = await api.scope()
    queue = await api.queue(scope)
    await _published(api, scope, queue)
    (message,) = await _claimed(api, scope, queue)
    path = f"/scopes/{scope['id']}/messages/{message['id']}"
    token = {"claim_token": message["claim_token"]}
    first = await api.http.post(path + "/complete", json=token)
    again = await api.http.post(path + "/complete", json=token)
    assert first.json()["data"] == again.json()["data"]
    failed(
        await api.http.post(path + "/complete", json={"claim_token": "1.999999"}), 409, "SCAIQUEUE_CLAIM_LOST"
    )
    failed(await api.http.post(path + "/complete"), 409, "SCAIQUEUE_INVALID_STATE")
    failed(await api.http.post(path + "/cancel"), 409, "SCAIQUEUE_INVALID_STATE")


async def test_unknown_messages(api: Api) -> None:
    scope = await api.scope()
    for name in ("nothing", "01939d2e-6f0c-7d52-b8c6-7a2f6c1f0a11"):
        path = f"/scopes/{scope['id']}/messages/{name}"
        failed(await api.http.get(path), 404, "SCAIQUEUE_MESSAGE_NOT_FOUND")
        for verb in ("complete", "fail", "release", "extend", "cancel"):
            failed(await api.http.post(f"{path}/{verb}"), 404, "SCAIQUEUE_MESSAGE_NOT_FOUND")


async def test_cancel(api: Api) -> None:
    scope = await api.scope()
    queue = await api.queue(scope)
    waiting = await _published(api, scope, queue, delay_s=600)
    assert waiting["state"] == "scheduled"
    assert waiting["visible_at"] > waiting["created_at"]
    path = f"/scopes/{scope['id']}/messages"
    gone = await api.http.post(f"{path}/{waiting['id']}/cancel")
    assert gone.json()["data"]["state"] == "cancelled"
    held = await _published(api, scope, queue)
    await _claimed(api, scope, queue)
    asked = (await api.http.post(f"{path}/{held['id']}/cancel")).json()["data"]
    assert (asked["state"], asked["cancel_requested"]) == ("claimed", True)
    heard = (await api.http.post(f"{path}/{held['id']}/extend")).json()["data"]
    assert heard["cancel_requested"] is True
    ended = (await api.http.post(f"{path}/{held['id']}/fail")).json()["data"]
    assert ended["state"] == "cancelled"


async def test_batches_of_verbs_and_the_next_claim(api: Api) -> None:
    scope = await api.scope()
    queue = await api.queue(scope)
    for _ in range(4):
        await _published(api, scope, queue)
    held = await _claimed(api, scope, queue, batch_size=2)
    path = f"/scopes/{scope['id']}/messages"
    items = [{"id": m["id"], "claim_token": m["claim_token"], "response": [m["attempts"]]} for m in held]
    items.insert(1, {"id": "nothing"})
    items.append({"id": held[0]["id"], "claim_token": "1.999999"})
    answer = await api.http.post(
        path + "/complete", json={"items": items, "claim": {"queue": queue["slug"], "batch_size": 5}}
    )
    body = answer.json()
    assert [item.get("state") for item in body["data"]] == ["completed", None, "completed", None]
    assert body["data"][1]["error"]["code"] == "VALIDATION_ERROR"
    assert body["data"][3]["error"]["code"] == "SCAIQUEUE_CLAIM_LOST"
    assert len(body["claimed"]) == 2
    one, two = body["claimed"]
    assert body["claim_error"] is None
    unknown = {"items": [{"id": one["id"]}], "claim": {"queue": "none", "wait_s": 1}}
    failed(await api.http.post(path + "/complete", json=unknown), 404, "SCAIQUEUE_QUEUE_NOT_FOUND")
    neither = {"items": [{"id": one["id"]}], "claim": {"wait_s": 3600}}
    error = failed(await api.http.post(path + "/fail", json=neither), 422, "VALIDATION_ERROR")
    assert {detail["field"] for detail in error["details"]} == {"claim.queue", "claim.wait_s"}
    refused = {"items": [{"id": held[0]["id"]}], "claim": {"queue": "_events"}}
    answer = await api.http.post(path + "/complete", json=refused)
    assert answer.json()["claim_error"]["code"] == "SCAIQUEUE_SYSTEM_QUEUE_READONLY"
    extended = await api.http.post(path + "/extend", json={"items": [{"id": one["id"]}]})
    assert extended.json()["data"][0]["lease_expires_at"]
    released = await api.http.post(path + "/release", json={"items": [{"id": one["id"]}]})
    assert released.json()["data"][0]["state"] == "pending"
    dead = await api.http.post(path + "/fail", json={"items": [{"id": two["id"], "retryable": False}]})
    assert dead.json()["data"][0]["queue"] == "_dead_letter"


async def test_claims_over_several_queues(api: Api) -> None:
    scope = await api.scope()
    first, second = await api.queue(scope), await api.queue(scope)
    for queue, kind in ((second, "a"), (first, "b"), (second, "c")):
        await _published(api, scope, queue, type=kind)
    path = f"/scopes/{scope['id']}/messages/claim"

    async def take(strategy: str) -> list[str]:
        asked = {"queues": [first["id"], second["slug"]], "strategy": strategy, "batch_size": 3}
        taken = (await api.http.post(path, json=asked)).json()["data"]
        items = {"items": [{"id": message["id"]} for message in taken]}
        await api.http.post(f"/scopes/{scope['id']}/messages/release", json=items)
        return [message["message_type"] for message in taken]

    assert await take("ordered") == ["b", "a", "c"]
    assert await take("oldest") == ["a", "b", "c"]
    assert sorted(await take("fair")) == ["a", "b", "c"]
    unknown = await api.http.post(path, json={"queues": [first["id"], "none"]})
    failed(unknown, 404, "SCAIQUEUE_QUEUE_NOT_FOUND")


async def test_a_claim_id_gives_the_same_leases_again(api: Api) -> None:
    scope = await api.scope()
    queue = await api.queue(scope)
    for _ in range(3):
        await _published(api, scope, queue)
    first = await _claimed(api, scope, queue, batch_size=2, claim_id="mine")
    again = await _claimed(api, scope, queue, batch_size=2, claim_id="mine")
    assert [message["claim_token"] for message in again] == [message["claim_token"] for message in first]
    other = await _claimed(api, scope, queue, batch_size=2, claim_id="mine", consumer_id="b")
    assert len(other) == 1


async def test_closed_queues_refuse(api: Api) -> None:
    scope = await api.scope()
    queue = await api.queue(scope)
    base = f"/scopes/{scope['id']}/queues/{queue['id']}"
    message = {"type": "t", "body": 1}

    async def both() -> tuple[httpx.Response, httpx.Response]:
        return (
            await api.http.post(base + "/messages", json=message),
            await api.http.post(base + "/messages/claim"),
        )

    await api.http.post(base + "/drain")
    publish, claim = await both()
    error = failed(publish, 409, "SCAIQUEUE_QUEUE_PAUSED")
    assert error["details"] == [{"field": "state", "message": "draining"}]
    assert claim.status_code == 200
    await api.http.post(base + "/pause")
    for answer in await both():
        failed(answer, 409, "SCAIQUEUE_QUEUE_PAUSED")
    await api.http.post(base + "/resume")
    await api.http.post(f"/scopes/{scope['id']}/pause")
    for answer in await both():
        failed(answer, 409, "SCAIQUEUE_SCOPE_PAUSED")
    shown = (await api.http.get(base)).json()["data"]
    assert (shown["state"], shown["effective_state"]) == ("active", "paused")
    await api.http.post(f"/scopes/{scope['id']}/resume")
    dead = f"/scopes/{scope['id']}/queues/_dead_letter/messages"
    failed(await api.http.post(dead, json=message), 403, "SCAIQUEUE_SYSTEM_QUEUE_READONLY")
    events = f"/scopes/{scope['id']}/queues/_events/messages/claim"
    failed(await api.http.post(events), 403, "SCAIQUEUE_SYSTEM_QUEUE_READONLY")


async def test_a_full_queue_and_a_too_large_body(api: Api) -> None:
    scope = await api.scope()
    queue = await api.queue(scope, max_depth=1)
    await _published(api, scope, queue)
    path = f"/scopes/{scope['id']}/queues/{queue['id']}/messages"
    full = await api.http.post(path, json={"type": "t", "body": 1})
    assert failed(full, 429, "SCAIQUEUE_QUEUE_FULL")["retry_after"] > 0
    assert int(full.headers["retry-after"]) >= 1
    large = await api.http.post(path, json={"type": "t", "body": "x" * (256 * 1024 - 1)})
    failed(large, 413, "SCAIQUEUE_MESSAGE_TOO_LARGE")
    huge = await api.http.post(path, content=b'{"type":"t","body":"' + b"x" * (12 << 20) + b'"}')
    failed(huge, 413, "SCAIQUEUE_MESSAGE_TOO_LARGE")


async def test_every_wrong_field_of_a_publish_is_named(api: Api) -> None:
    scope = await api.scope()
    queue = await api.queue(scope)
    answer = await api.http.post(
        f"/scopes/{scope['id']}/queues/{queue['id']}/messages",
        content=json.dumps(
            {
                "priority": {"tier": "urgent", "score": 1001},
                "labels": {"a": 1},
                "deadline": "tomorrow",
                "ttl_seconds": 0,
                "source": {"type": "x"},
                "max_retries": 101,
                "content_type": "json",
                "parent_id": "x",
            }
        ),
    )
    error = failed(answer, 422, "VALIDATION_ERROR")
    assert {detail["field"] for detail in error["details"]} == {
        *("type", "priority.tier", "priority.score", "deadline", "ttl_seconds", "source.id", "max_retries"),
        *("content_type", "parent_id", "labels[...]"),
    }


async def test_lists_see_their_own_writes_and_filter(api: Api) -> None:
    scope = await api.scope()
    queue, other = await api.queue(scope), await api.queue(scope)
    first = await _published(api, scope, queue, labels={"a b": "x"}, correlation_id="c", type="one")
    second = await _published(
        api, scope, other, labels={"a b": "y"}, source={"type": "s", "id": "me"}, durability="indexed"
    )
    await _claimed(api, scope, queue)
    path = f"/scopes/{scope['id']}/messages"

    async def ids(**params: str | int) -> list[str]:
        answer = await api.http.get(path, params=params)
        assert answer.status_code == 200, answer.text
        assert answer.json()["meta"]["stale"] is False
        return [message["id"] for message in answer.json()["data"]]

    assert await ids() == [second["id"], first["id"]]
    for params in (
        {"label.a b": "x"},
        {"correlation_id": "c"},
        {"state": "claimed"},
        {"queue": queue["id"]},
        {"type": "one"},
        {"created_before": second["created_at"]},
    ):
        found = await ids(**params)
        assert found == [first["id"]] or "created_before" in params, params
    assert await ids(source_id="me", created_after="2020-01-01T00:00:00Z") == [second["id"]]
    page = (await api.http.get(path, params={"limit": 1})).json()
    assert await ids(limit=1, cursor=page["meta"]["next_cursor"]) == [first["id"]]
    wrong = await api.http.get(path, params={"state": "lost", "created_after": "now", 'label."': "x"})
    error = failed(wrong, 422, "VALIDATION_ERROR")
    assert {detail["field"] for detail in error["details"]} == {"state", "created_after"}


async def test_history_and_trace_tell_every_transition(api: Api) -> None:
    scope = await api.scope()
    queue, other = await api.queue(scope), await api.queue(scope)
    one = await _published(api, scope, queue, correlation_id="order/1 é")
    await _published(api, scope, other, correlation_id="order/1 é")
    (message,) = await _claimed(api, scope, queue)
    path = f"/scopes/{scope['id']}/messages/{one['id']}"
    await api.http.post(path + "/complete")
    history = (await api.http.get(path + "/history")).json()["data"]
    assert [step["event"] for step in history["transitions"]] == ["published", "claimed", "completed"]
    assert [step["attempts"] for step in history["transitions"]] == [0, 1, 1]
    assert history["skipped"] == 0
    traced = await api.http.get(f"/scopes/{scope['id']}/audit/trace/order%2F1%20%C3%A9")
    steps = traced.json()["data"]
    assert [step["event"] for step in steps] == ["published", "published", "claimed", "completed"]
    assert {step["queue"] for step in steps} == {queue["slug"], other["slug"]}
    assert message["id"] == one["id"]
