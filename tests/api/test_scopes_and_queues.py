"""Scopes and queues over HTTP."""

from __future__ import annotations

import pytest

from tests.api.conftest import BASE, Api, failed

SYSTEM = ["_dead_letter", "_events", "_audit", "_integrity", "_corrections"]


async def test_a_scope_is_created_with_its_system_queues(api: Api) -> None:
    scope = await api.scope(description="d", durability="indexed")
    assert scope["state"] == "active"
    assert scope["durability"] == "indexed"
    assert scope["created_at"].endswith("Z")
    listed = (await api.http.get(f"/scopes/{scope['slug']}/queues")).json()["data"]
    assert [queue["slug"] for queue in listed] == SYSTEM
    assert all(queue["system"] for queue in listed)


async def test_a_reserved_shard_holds_scopes_that_ask_for_it_alone(api: Api) -> None:
    assert (await api.scope(shard=3))["shard"] == 3
    assert {(await api.scope())["shard"] for _ in range(12)} <= {0, 1, 2}
    answer = await api.http.post("/scopes", json={"slug": "far", "display_name": "Far", "shard": 4})
    (detail,) = failed(answer, 422, "VALIDATION_ERROR")["details"]
    assert detail["field"] == "shard"


async def test_id_and_slug_name_the_same_scope_and_queue(api: Api) -> None:
    scope = await api.scope()
    queue = await api.queue(scope, ordering="priority", max_depth=3)
    answers = [
        await api.http.get(f"/scopes/{s}/queues/{q}")
        for s in (scope["id"], scope["slug"])
        for q in (queue["id"], queue["slug"])
    ]
    assert {answer.json()["data"]["id"] for answer in answers} == {queue["id"]}
    shown = answers[0].json()["data"]
    assert shown["depth_pending"] == shown["depth_claimed"] == shown["depth_scheduled"] == 0
    assert shown["oldest_age_s"] is None
    assert shown["max_retries"] == 5
    assert shown["visibility_timeout_s"] == 30


async def test_a_slug_is_taken_once(api: Api) -> None:
    scope = await api.scope()
    again = await api.http.post("/scopes", json={"slug": scope["slug"], "display_name": "x"})
    assert failed(again, 409, "SLUG_CONFLICT")["details"][0]["field"] == "slug"
    queue = await api.queue(scope)
    again = await api.http.post(
        f"/scopes/{scope['id']}/queues", json={"slug": queue["slug"], "display_name": "x"}
    )
    failed(again, 409, "SLUG_CONFLICT")


async def test_every_wrong_field_is_named(api: Api) -> None:
    scope = await api.scope()
    answer = await api.http.post(
        f"/scopes/{scope['id']}/queues",
        json={
            "slug": "Not a slug\n",
            "ordering": "lifo",
            "max_depth": -1,
            "backoff": {"strategy": "none", "base_s": "x"},
            "colour": "red",
        },
    )
    error = failed(answer, 422, "VALIDATION_ERROR")
    assert sorted(detail["field"] for detail in error["details"]) == [
        "backoff.base_s",
        "backoff.strategy",
        "colour",
        "display_name",
        "max_depth",
        "ordering",
        "slug",
    ]
    failed(await api.http.post("/scopes", json={"slug": "a\n", "display_name": "x"}), 422, "VALIDATION_ERROR")


@pytest.mark.parametrize("raw", [b"{", b"", b'{"slug": NaN}', b'{"slug": "\xff"}', b"[" * 100_000])
async def test_what_is_no_json_answers_400(api: Api, raw: bytes) -> None:
    failed(await api.http.post("/scopes", content=raw), 400, "MALFORMED_JSON")


async def test_the_router_answers_in_the_envelope_too(api: Api) -> None:
    failed(await api.http.get("/nothing"), 404, "NOT_FOUND")
    wrong = await api.http.put("/scopes")
    failed(wrong, 405, "METHOD_NOT_ALLOWED")
    assert "POST" in wrong.headers["allow"]


async def test_problem_details_on_request(api: Api) -> None:
    answer = await api.http.get("/scopes/none", headers={"Accept": "application/problem+json"})
    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("application/problem+json")
    problem = answer.json()
    assert problem["code"] == problem["title"] == "SCAIQUEUE_SCOPE_NOT_FOUND"
    assert problem["status"] == 404
    assert problem["retryable"] is False
    assert problem["instance"] == f"{BASE}/scopes/none"


async def test_request_ids_are_taken_or_made(api: Api) -> None:
    taken = await api.http.get("/scopes", headers={"X-Request-Id": "mine-1"})
    assert taken.headers["x-request-id"] == taken.json()["meta"]["request_id"] == "mine-1"
    unfit = await api.http.get("/scopes", headers={"X-Request-Id": "a b"})
    assert unfit.headers["x-request-id"] not in ("", "a b")


async def test_lists_go_on_by_cursor(api: Api) -> None:
    scope = await api.scope()
    seen: list[str] = []
    cursor = ""
    while True:
        page = (
            await api.http.get(f"/scopes/{scope['id']}/queues", params={"limit": 2, "cursor": cursor})
        ).json()
        seen += [queue["slug"] for queue in page["data"]]
        cursor = page["meta"]["next_cursor"]
        if cursor is None:
            break
    assert seen == SYSTEM
    wrong = await api.http.get("/scopes", params={"limit": 0, "cursor": "é", "x": 1})
    error = failed(wrong, 422, "VALIDATION_ERROR")
    assert {detail["field"] for detail in error["details"]} == {"limit", "x"}
    failed(await api.http.get("/scopes", params={"cursor": "é"}), 422, "VALIDATION_ERROR")


async def test_settings_change_and_order_does_not(api: Api) -> None:
    scope = await api.scope()
    queue = await api.queue(scope)
    path = f"/scopes/{scope['id']}/queues/{queue['id']}"
    changed = await api.http.patch(
        path, json={"max_depth": 7, "display_name": "New", "durability": "indexed"}
    )
    assert changed.json()["data"]["max_depth"] == 7
    assert changed.json()["data"]["display_name"] == "New"
    assert (await api.http.get(path)).json()["data"]["version"] == 2
    error = failed(await api.http.patch(path, json={"ordering": "priority"}), 422, "VALIDATION_ERROR")
    assert error["details"][0]["field"] == "ordering"
    scoped = await api.http.patch(f"/scopes/{scope['id']}", json={"description": "new"})
    assert scoped.json()["data"]["description"] == "new"


async def test_life_of_scopes_and_queues(api: Api) -> None:
    scope = await api.scope()
    queue = await api.queue(scope)
    path = f"/scopes/{scope['id']}/queues/{queue['id']}"
    for verb, state in [
        ("pause", "paused"),
        ("resume", "active"),
        ("drain", "draining"),
        ("archive", "archived"),
    ]:
        assert (await api.http.post(f"{path}/{verb}")).json()["data"]["state"] == state
    error = failed(await api.http.post(f"{path}/resume"), 409, "SCAIQUEUE_INVALID_STATE")
    assert error["details"] == [{"field": "state", "message": "archived"}]
    assert (await api.http.post(f"{path}/unarchive")).json()["data"]["state"] == "active"
    assert (await api.http.post(f"/scopes/{scope['id']}/pause")).json()["data"]["state"] == "paused"
    assert (await api.http.get(path)).json()["data"]["state"] == "active"
    system = f"/scopes/{scope['id']}/queues/_audit"
    failed(await api.http.post(f"{system}/pause"), 403, "SCAIQUEUE_SYSTEM_QUEUE_READONLY")
    failed(await api.http.patch(system, json={"max_depth": 1}), 403, "SCAIQUEUE_SYSTEM_QUEUE_READONLY")


async def test_keys_are_asked_for(api: Api) -> None:
    async with api.with_key(None) as nobody:
        answer = await nobody.get("/scopes")
        failed(answer, 401, "AUTH_TOKEN_MISSING")
        assert answer.headers["www-authenticate"] == "Bearer"
    async with api.with_key("sgk_wrong") as wrong:
        failed(await wrong.get("/scopes"), 401, "AUTH_TOKEN_INVALID")
