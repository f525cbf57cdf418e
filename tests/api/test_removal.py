"""Purge, delete, and redrive of the dead letter."""

from __future__ import annotations

from typing import Any

from tests.api.conftest import Api, failed
from tests.eventually import eventually


async def _publish(api: Api, scope: Any, queue: Any, count: int = 1, **fields: Any) -> list[str]:
    items = {"messages": [{"type": "t", "body": n, **fields} for n in range(count)]}
    path = f"/scopes/{scope['id']}/queues/{queue['id']}/messages/batch"
    return [item["id"] for item in (await api.http.post(path, json=items)).json()["data"]]


async def _claim(api: Api, scope: Any, queue: Any, count: int = 1) -> list[dict[str, Any]]:
    path = f"/scopes/{scope['id']}/queues/{queue['slug']}/messages/claim"
    data: list[dict[str, Any]] = (await api.http.post(path, json={"batch_size": count})).json()["data"]
    return data


async def _kill(api: Api, scope: Any, queue: Any, count: int = 1) -> None:
    held = await _claim(api, scope, queue, count)
    items = [{"id": message["id"], "retryable": False, "reason": "no"} for message in held]
    await api.http.post(f"/scopes/{scope['id']}/messages/fail", json={"items": items})


async def test_purge_cancels_what_waits(api: Api) -> None:
    scope = await api.scope()
    queue = await api.queue(scope)
    await _publish(api, scope, queue, 3)
    await _publish(api, scope, queue, 2, delay_s=60)
    (held,) = await _claim(api, scope, queue)
    purged = await api.http.post(f"/scopes/{scope['id']}/queues/{queue['id']}/purge")
    assert purged.json()["data"] == {"purged": 4, "more": False}
    done = await api.http.post(f"/scopes/{scope['id']}/messages/{held['id']}/complete")
    assert done.json()["data"]["state"] == "completed"
    listed = await api.http.get(f"/scopes/{scope['id']}/messages", params={"state": "cancelled"})
    assert len(listed.json()["data"]) == 4


async def test_a_queue_with_live_messages_is_deleted_by_force_only(api: Api) -> None:
    scope = await api.scope()
    queue = await api.queue(scope)
    path = f"/scopes/{scope['id']}/queues/{queue['id']}"
    (message_id,) = await _publish(api, scope, queue, idempotency_key="k")
    await _publish(api, scope, queue)
    await _claim(api, scope, queue)
    error = failed(await api.http.delete(path), 409, "SCAIQUEUE_NOT_EMPTY")
    assert error["details"] == [{"field": queue["slug"], "message": "2 live"}]
    deleted = await api.http.delete(path, params={"force": "true"})
    assert deleted.json()["data"] == {"id": queue["id"], "deleted": True}
    failed(await api.http.get(path), 404, "SCAIQUEUE_QUEUE_NOT_FOUND")
    failed(await api.http.post(path + "/messages", json={"type": "t"}), 404, "SCAIQUEUE_QUEUE_NOT_FOUND")
    failed(
        await api.http.get(f"/scopes/{scope['id']}/messages/{message_id}"), 404, "SCAIQUEUE_MESSAGE_NOT_FOUND"
    )
    again = await api.queue(scope, slug=queue["slug"])
    (fresh,) = await _publish(api, scope, again, idempotency_key="k")
    assert fresh != message_id
    system = await api.http.delete(f"/scopes/{scope['id']}/queues/_dead_letter", params={"force": "true"})
    failed(system, 403, "SCAIQUEUE_SYSTEM_QUEUE_READONLY")


async def test_a_scope_goes_with_everything_in_it(api: Api) -> None:
    scope = await api.scope()
    queue = await api.queue(scope)
    await _publish(api, scope, queue, 3)
    await _kill(api, scope, queue)
    await _claim(api, scope, queue)
    path = f"/scopes/{scope['id']}"
    failed(await api.http.delete(path), 409, "SCAIQUEUE_NOT_EMPTY")
    assert (await api.http.delete(path, params={"force": "true"})).status_code == 200
    failed(await api.http.get(path), 404, "SCAIQUEUE_SCOPE_NOT_FOUND")
    with api.redis.client() as client:

        def left() -> list[bytes]:
            return list(client.scan_iter(match=f"*{scope['id']}*"))

        await eventually(lambda: not left())
    await api.scope(slug=scope["slug"])


async def test_redrive_sends_messages_back_to_their_origin(api: Api) -> None:
    scope = await api.scope()
    queue, other = await api.queue(scope), await api.queue(scope)
    await _publish(api, scope, queue, 3, type="a")
    await _publish(api, scope, other, 2, type="b")
    await _kill(api, scope, queue, 3)
    await _kill(api, scope, other, 2)
    path = f"/scopes/{scope['id']}/dead-letter/redrive"
    counted = created_job(await api.http.post(path, json={"dry_run": True}))
    assert counted["state"] == "completed"
    assert counted["progress"]["matched"] == 5
    assert counted["progress"]["redriven"] == 0
    some = created_job(await api.http.post(path, json={"filter": {"type": "a", "queue": queue["slug"]}}))
    assert some["progress"]["redriven"] == 3
    back = await _claim(api, scope, queue, 10)
    assert [message["attempts"] for message in back] == [1, 1, 1]
    assert all(message["origin"] is None for message in back)
    await api.http.post(f"/scopes/{scope['id']}/queues/{other['id']}/pause")
    closed = created_job(await api.http.post(path))
    assert closed["progress"]["refused"] == {"paused": 2}
    moved = created_job(await api.http.post(path, json={"target": queue["id"]}))
    assert moved["progress"]["redriven"] == 2
    assert len(await _claim(api, scope, queue, 10)) == 2
    jobs = (await api.http.get(f"/scopes/{scope['id']}/jobs")).json()["data"]
    assert [job["id"] for job in jobs] == [counted["id"], some["id"], closed["id"], moved["id"]]


async def test_a_slow_redrive_is_cancelled(api: Api) -> None:
    scope = await api.scope()
    queue = await api.queue(scope)
    await _publish(api, scope, queue, 5)
    await _kill(api, scope, queue, 5)
    job = created_job(await api.http.post(f"/scopes/{scope['id']}/dead-letter/redrive", json={"rate": 0.5}))
    assert job["state"] == "running"
    path = f"/scopes/{scope['id']}/jobs/{job['id']}"
    await api.http.post(path + "/cancel")

    async def cancelled() -> bool:
        found: dict[str, Any] = (await api.http.get(path)).json()["data"]
        return bool(found["state"] == "cancelled") and found["progress"]["redriven"] < 5

    await eventually(cancelled)
    failed(await api.http.get(f"/scopes/{scope['id']}/jobs/none"), 404, "SCAIQUEUE_JOB_NOT_FOUND")


def created_job(answer: Any) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    data: dict[str, Any] = answer.json()["data"]
    return data


async def test_scripts_and_agents_are_listed(api: Api) -> None:
    scripts = (await api.http.get("/scripts")).json()["data"]
    with api.redis.client() as client:
        known = {name.decode(): sha1.decode() for name, sha1 in client.hgetall("sq:scripts").items()}
    assert {script["name"]: script["sha1"] for script in scripts} == known
    claim = next(script for script in scripts if script["name"] == "claim")
    assert [argument["name"] for argument in claim["arguments"]][:2] == ["epoch", "now"]
    assert (await api.http.get("/system-agents")).status_code == 200
    run = await api.http.post("/system-agents/expiry_enforcer/run")
    assert run.status_code == 202
    failed(await api.http.post("/system-agents/nobody/run"), 404, "SCAIQUEUE_AGENT_NOT_FOUND")


async def test_stats_count_transitions_per_minute(api: Api) -> None:
    scope = await api.scope()
    queue = await api.queue(scope)
    await _publish(api, scope, queue, 3)
    await _claim(api, scope, queue, 2)
    path = f"/scopes/{scope['id']}/queues/{queue['id']}/stats"

    async def counted() -> bool:
        found = (await api.http.get(path)).json()["data"]
        sums = {event: sum(counts) for event, counts in found["per_minute"].items()}
        assert (found["depth_pending"], found["depth_claimed"]) == (1, 2)
        return sums == {"published": 3, "claimed": 2}

    await eventually(counted)
