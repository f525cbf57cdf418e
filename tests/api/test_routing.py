"""Routing rules over HTTP: what is refused and why, their life, what answers and rows say afterwards."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Api, created, failed
from tests.eventually import eventually

TIER = {"field": "labels.tier", "op": "eq", "value": "premium"}


class Shop:
    """A scope with queues `orders` and `urgent`."""

    def __init__(self, api: Api, scope: dict[str, Any]) -> None:
        self.api = api
        self.scope = scope
        self.path = f"/scopes/{scope['id']}"
        self.rules = f"{self.path}/routing-rules"

    def rule(self, **fields: Any) -> dict[str, Any]:
        base = {"name": "vip", "trigger": "message_published", "then": {"route": {"queue": "urgent"}}}
        return {**base, **fields}

    async def create(self, **fields: Any) -> dict[str, Any]:
        return created(await self.api.http.post(self.rules, json=self.rule(**fields)))

    async def refused(self, **fields: Any) -> list[tuple[str, str]]:
        answer = await self.api.http.post(self.rules, json=self.rule(**fields))
        error = failed(answer, 422, "SCAIQUEUE_INVALID_RULE")
        return [(detail["field"], detail["message"]) for detail in error["details"]]

    async def publish(self, queue: str = "orders", **fields: Any) -> dict[str, Any]:
        body = {"type": "order", "body": {"n": 1}, **fields}
        return created(await self.api.http.post(f"{self.path}/queues/{queue}/messages", json=body))

    async def claim(self, queue: str) -> list[dict[str, Any]]:
        answer = await self.api.http.post(f"{self.path}/queues/{queue}/messages/claim", json={})
        found: list[dict[str, Any]] = answer.json()["data"]
        return found


@pytest.fixture
async def shop(api: Api) -> Shop:
    scope = await api.scope()
    await api.queue(scope, slug="orders")
    await api.queue(scope, slug="urgent", ordering="priority")
    return Shop(api, scope)


async def test_a_rule_moves_and_the_answer_says_where(shop: Shop) -> None:
    rule = await shop.create(when=TIER)
    assert rule["breaker"] == {"state": "closed", "since": None, "matches": 0}
    moved, stayed = await shop.publish(labels={"tier": "premium"}), await shop.publish()
    assert (moved["queue"], stayed["queue"]) == ("urgent", "orders")
    assert [message["id"] for message in await shop.claim("urgent")] == [moved["id"]]
    history = (await shop.api.http.get(f"{shop.path}/messages/{moved['id']}/history")).json()["data"]
    assert [step["event"] for step in history["transitions"]] == ["published", "routed", "claimed"]
    shown = (await shop.api.http.get(f"{shop.rules}/vip")).json()["data"]
    assert shown["breaker"]["matches"] == 1


async def test_a_transformed_message_reads_so_everywhere(shop: Shop) -> None:
    change = {
        "type": "changed",
        "labels": {"tier": None, "new": "x"},
        "priority": {"tier": "high", "score": 1},
    }
    await shop.create(then={"transform": change}, when=TIER)
    published = await shop.publish(labels={"tier": "premium", "kept": "k"}, correlation_id="c")
    (claimed,) = await shop.claim("orders")
    (other,) = [await shop.publish(labels={"kept": "k"})]
    path = f"{shop.path}/messages"
    stored = (await shop.api.http.get(f"{path}/{published['id']}")).json()["data"]
    for message in (published, claimed, stored):
        assert message["message_type"] == "changed"
        assert message["labels"] == {"kept": "k", "new": "x"}
        assert (message["priority_tier"], message["priority_score"]) == ("high", 1)
        assert message["body"] == {"n": 1}

    async def listed(query: str) -> list[str]:
        answer = (await shop.api.http.get(f"{path}?{query}")).json()
        return [message["id"] for message in answer["data"]]

    assert await listed("type=changed") == [published["id"]]
    assert await listed("type=order") == [other["id"]]
    assert await listed("label.new=x") == [published["id"]]
    assert await listed("label.tier=premium") == []
    assert await listed("label.kept=k") == [other["id"], published["id"]]


async def test_a_change_at_failure_reaches_the_rows(shop: Shop) -> None:
    await shop.create(trigger="message_failed", then={"transform": {"type": "again"}})
    message = await shop.publish()
    (held,) = await shop.claim("orders")
    await shop.api.http.post(
        f"{shop.path}/messages/{message['id']}/fail",
        json={"reason": "r", "claim_token": held["claim_token"], "retryable": False},
    )
    found = await eventually(lambda: _listed(shop, "type=again"))
    assert found["queue"] == "_dead_letter"


async def _listed(shop: Shop, query: str) -> dict[str, Any]:
    (message,) = (await shop.api.http.get(f"{shop.path}/messages?{query}")).json()["data"]
    found: dict[str, Any] = message
    return found


async def test_a_copy_is_traced_to_its_parent(shop: Shop) -> None:
    await shop.create(
        trigger="message_completed",
        then={"route": {"queue": "urgent", "mode": "copy"}, "transform": {"type": "next"}},
    )
    parent = await shop.publish(correlation_id="c-1", idempotency_key="k", source={"type": "a", "id": "b"})
    (held,) = await shop.claim("orders")
    done = await shop.api.http.post(
        f"{shop.path}/messages/{parent['id']}/complete", json={"claim_token": held["claim_token"]}
    )
    assert done.json()["data"]["state"] == "completed"
    (copy,) = await shop.claim("urgent")
    assert (copy["parent_id"], copy["causation_id"], copy["correlation_id"]) == (
        parent["id"],
        parent["id"],
        "c-1",
    )
    assert (copy["message_type"], copy["idempotency_key"], copy["source_id"]) == ("next", None, "b")
    assert copy["body"] == parent["body"]
    trace = (await shop.api.http.get(f"{shop.path}/audit/trace/c-1")).json()["data"]
    assert {event["message_id"] for event in trace} == {parent["id"], copy["id"]}
    row = await eventually(lambda: _listed(shop, "type=next"))
    assert row["parent_id"] == parent["id"]


async def test_body_paths_with_a_fresh_and_a_stale_cache(shop: Shop) -> None:
    await shop.publish(body={"total": 1})
    await shop.create(when={"field": "body.order.total", "op": "gte", "value": 100})
    queues = [
        (await shop.publish(body=body))["queue"]
        for body in ({"order": {"total": 100.5}}, {"order": {"total": "200"}}, {"order": 100}, [1], None)
    ]
    assert queues == ["urgent", *["orders"] * 4]
    large = {"order": {"total": 100}, "padding": "x" * 70_000}
    assert (await shop.publish(body=large))["queue"] == "urgent"


async def test_a_batch_is_cut_where_copies_are_too_many(shop: Shop) -> None:
    await shop.create(then={"route": {"queue": "urgent", "mode": "copy"}}, queue="orders")
    messages = [{"type": "t", "body": n} for n in range(1000)]
    answer = await shop.api.http.post(
        f"{shop.path}/queues/orders/messages/batch", json={"messages": messages}
    )
    assert all(item.get("state") == "pending" for item in answer.json()["data"])
    shown = (await shop.api.http.get(f"{shop.path}/queues/urgent")).json()["data"]
    assert shown["depth_pending"] == 1000


async def test_completions_with_many_copies_are_cut_too(shop: Shop) -> None:
    await shop.create(trigger="message_completed", then={"route": {"queue": "urgent", "mode": "copy"}})
    http, path = shop.api.http, f"{shop.path}/queues/orders/messages"
    await http.post(f"{path}/batch", json={"messages": [{"type": "t"}] * 700})
    held = (await http.post(f"{path}/claim", json={"batch_size": 700})).json()["data"]
    items = [{"id": message["id"], "claim_token": message["claim_token"]} for message in held]
    done = (await http.post(f"{shop.path}/messages/complete", json={"items": items})).json()["data"]
    assert [item["state"] for item in done] == ["completed"] * 700
    shown = (await http.get(f"{shop.path}/queues/urgent")).json()["data"]
    assert shown["depth_pending"] == 700


async def test_the_life_of_a_rule(shop: Shop) -> None:
    first, second = await shop.create(name="one"), await shop.create(name="two", enabled=False)
    assert first["position"] < second["position"]
    http = shop.api.http
    assert (await shop.publish())["queue"] == "urgent"
    assert (await http.post(f"{shop.rules}/one/disable")).json()["data"]["enabled"] is False
    assert (await shop.publish())["queue"] == "orders"
    assert (await http.post(f"{shop.rules}/{second['id']}/enable")).json()["data"]["enabled"] is True
    assert (await shop.publish())["queue"] == "urgent"
    changed = (
        await http.patch(f"{shop.rules}/two", json={"queue": "urgent", "then": {"archive": True}})
    ).json()
    assert changed["data"]["then"] == {"archive": True}
    assert changed["data"]["version"] == 3
    assert (await shop.publish())["queue"] == "orders"
    assert (await shop.publish("urgent"))["state"] == "archived"
    await http.patch(f"{shop.rules}/two", json={"position": 1})
    listed = (await http.get(shop.rules)).json()["data"]
    assert [rule["name"] for rule in listed] == ["two", "one"]
    assert (await http.delete(f"{shop.rules}/two")).json()["data"]["id"] == second["id"]
    failed(await http.get(f"{shop.rules}/two"), 404, "SCAIQUEUE_RULE_NOT_FOUND")
    assert (await shop.publish("urgent"))["state"] == "pending"
    failed(await http.post(shop.rules, json=shop.rule(name="one")), 409, "SLUG_CONFLICT")
    await shop.create(name="three")
    failed(await http.patch(f"{shop.rules}/three", json={"name": "one"}), 409, "SLUG_CONFLICT")
    assert (await http.post(f"{shop.rules}/three/reset-breaker")).status_code == 200


async def test_another_tenant_and_scope_see_no_rule(shop: Shop) -> None:
    rule = await shop.create()
    other = await shop.api.scope()
    failed(
        await shop.api.http.get(f"/scopes/{other['id']}/routing-rules/{rule['id']}"),
        404,
        "SCAIQUEUE_RULE_NOT_FOUND",
    )


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"when": {"field": "lables.x", "op": "eq", "value": "1"}}, "when.field"),
        ({"when": {"all": [TIER, {"field": "type", "op": "like", "value": "1"}]}}, "when.all[1].op"),
        ({"when": {"any": [{"not": {"field": "type", "op": "eq", "value": 1}}]}}, "when.any[0].not.value"),
        ({"when": {"field": "type", "op": "gt", "value": "1"}}, "when.op"),
        ({"when": {"field": "attempts", "op": "prefix", "value": "1"}}, "when.op"),
        ({"when": {"field": "priority.tier", "op": "eq", "value": "urgent"}}, "when.value"),
        ({"when": {"field": "priority.score", "op": "gt", "value": 1000}}, "when"),
        ({"when": {"field": "attempts", "op": "gte", "value": 1}}, "when"),
        ({"when": {"all": [TIER, {**TIER, "value": "basic"}]}}, "when"),
        ({"when": {"any": [TIER, {"all": [TIER, {**TIER, "op": "exists", "value": False}]}]}}, "when.any[1]"),
        (
            {
                "when": {
                    "all": [
                        {"field": "body.n", "op": "gt", "value": 5},
                        {"all": [{"field": "body.n", "op": "lt", "value": 5}]},
                    ]
                }
            },
            "when",
        ),
        ({"when": {"all": []}}, "when.all"),
        ({"when": {"field": "body.a b", "op": "exists"}}, "when.field"),
        ({"when": 7}, "when"),
        ({"when": {**TIER, "note": "x"}}, "when.note"),
        ({"when": {"field": "type", "op": "in", "value": []}}, "when.value"),
        ({"queue": "nowhere"}, "queue"),
        ({"queue": "_dead_letter"}, "queue"),
        ({"then": {"route": {"queue": "nowhere"}}}, "then.route.queue"),
        ({"then": {"route": {"queue": "_events"}}}, "then.route.queue"),
        ({"then": {"route": {"queue": "other/urgent"}}}, "then.route.queue"),
        ({"then": {"route": {"scope": "other", "queue": "urgent"}}}, "then.route.scope"),
        ({"then": {"route": {"queue": "urgent", "mode": "both"}}}, "then.route.mode"),
        ({"queue": "urgent"}, "then.route.queue"),
        ({"then": {}}, "then"),
        ({"then": {"archive": True, "route": {"queue": "urgent"}}}, "then"),
        ({"then": {"transform": {}}}, "then.transform"),
        ({"then": {"transform": {"colour": "red"}}}, "then.transform.colour"),
        ({"then": {"escalate": {}}}, "then.escalate"),
        ({"then": {"escalate": {"hitl_pattern": "x"}}}, "then.escalate.hitl_pattern"),
        ({"trigger": "message_completed"}, "then"),
        ({"trigger": "message_expired", "then": {"transform": {"type": "x"}}}, "then"),
    ],
)
async def test_an_invalid_rule_is_told_where(shop: Shop, fields: dict[str, Any], place: str) -> None:
    assert [field for field, _ in await shop.refused(**fields)] == [place]


async def test_another_scope_can_be_a_target_only_if_it_trusts(shop: Shop) -> None:
    ((_, message),) = await shop.refused(then={"route": {"scope": "other", "queue": "urgent"}})
    assert message == "No such scope, or no trust of it lets messages of this scope into the queue"


async def test_other_fields_are_validated_as_everywhere(shop: Shop) -> None:
    answer = await shop.api.http.post(shop.rules, json=shop.rule(trigger="message_seen", name="Not a slug"))
    error = failed(answer, 422, "VALIDATION_ERROR")
    assert sorted(detail["field"] for detail in error["details"]) == ["name", "trigger"]


async def test_too_deep_and_too_many(shop: Shop) -> None:
    deep: dict[str, Any] = TIER
    for _ in range(12):
        deep = {"not": deep}
    ((place, _),) = await shop.refused(when=deep)
    assert place.count("not") == 10
    ((place, _),) = await shop.refused(when={"any": [TIER] * 51})
    assert place == "when.any[50]"


async def test_a_dry_run_of_a_sample_and_of_a_stored_message(shop: Shop) -> None:
    await shop.create(when=TIER)
    http = shop.api.http
    sample = {"type": "order", "labels": {"tier": "premium"}}
    asked = {"trigger": "message_published", "queue": "orders", "message": sample}
    found = (await http.post(f"{shop.rules}/evaluate", json=asked)).json()["data"]
    assert (found["matched"], found["outcome"], found["queue"]) == (True, "routed", "urgent")
    assert [(step["event"], step["detail"]) for step in found["steps"]] == [("routed", "vip")]
    stored = await shop.publish()
    found = (await http.post(f"{shop.rules}/evaluate", json={"message_id": stored["id"]})).json()["data"]
    assert (found["matched"], found["outcome"], found["queue"]) == (False, "unmatched", "orders")
    assert (await shop.api.http.get(f"{shop.path}/queues/urgent")).json()["data"]["depth_pending"] == 0
    for wrong in ({}, {"message": sample}, {"message": sample, "message_id": stored["id"]}):
        failed(await http.post(f"{shop.rules}/evaluate", json=wrong), 422, "VALIDATION_ERROR")
    missing = {"message_id": "01939d2e-6f0c-7d52-b8c6-7a2f6c1f0a11"}
    failed(await http.post(f"{shop.rules}/evaluate", json=missing), 404, "SCAIQUEUE_MESSAGE_NOT_FOUND")


async def test_a_dry_run_shows_the_dead_letter_and_copies(shop: Shop) -> None:
    await shop.create(then={"route": {"queue": "urgent", "mode": "copy"}}, queue="orders")
    await shop.create(name="on", then={"route": {"queue": "orders"}}, queue="urgent")
    await shop.api.http.post(f"{shop.path}/queues/orders/pause")
    asked = {"queue": "orders", "message": {"type": "order"}}
    found = (await shop.api.http.post(f"{shop.rules}/evaluate", json=asked)).json()["data"]
    assert found["outcome"] == "unmoved"
    (copy,) = found["copies"]
    assert (copy["queue"], copy["reason"]) == ("_dead_letter", "ROUTE_TARGET")


async def test_a_key_limited_to_queues_makes_no_rules(shop: Shop) -> None:
    asked = {
        "name": "k", "permissions": ["scaiqueue:manage"], "scopes": [shop.scope["id"]], "queues": ["orders"],
    }  # fmt: skip
    secret = created(await shop.api.http.post("/api-keys", json=asked))["key"]
    async with shop.api.with_key(secret) as limited:
        failed(await limited.post(shop.rules, json=shop.rule()), 403, "AUTHZ_PERMISSION_DENIED")


async def test_rules_come_back_with_a_lost_index(shop: Shop) -> None:
    await shop.create()
    with shop.api.redis.client() as client:
        (meta,) = client.keys(f"*{shop.scope['id']}:meta")
        client.delete(meta, meta.replace(b":meta", b":rules"))
    assert (await shop.publish())["queue"] == "urgent"


async def test_a_deleted_scope_leaves_no_rule(shop: Shop) -> None:
    await shop.create()
    assert (await shop.api.http.delete(f"{shop.path}?force=true")).status_code == 200
    with shop.api.redis.client() as client:
        assert client.keys(f"*{shop.scope['id']}:rules*") == []
