"""Rules that put messages before a human, over HTTP: from the rule to the decision, and what is refused."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.api.conftest import Api, created, failed
from tests.review.test_reviews import read

PATTERN: dict[str, Any] = {
    "name": "check",
    "spec": {
        "sections": [
            {"type": "context", "title": "{{title}}", "content": "{{details}}"},
            {"type": "decision", "field": "d", "options": ["yes", "{{other}}"]},
        ],
        "timeout_s": 60,
        "on_timeout": "escalate",
    },
}
USE: dict[str, Any] = {
    "name": "check",
    "parameters": {"title": "{{ type }} of {{labels.who}}", "details": {"limit": 5}, "other": "no"},
}


class Desk:
    """A scope with the queue `orders` and the pattern `check`."""

    def __init__(self, api: Api, scope: str) -> None:
        self.api = api
        self.scope = scope
        self.rules = f"{scope}/routing-rules"
        self.queue = f"{scope}/queues/orders/messages"

    def rule(self, use: Any = USE, **fields: Any) -> dict[str, Any]:
        base = {"name": "ask", "trigger": "message_published"}
        return {**base, "then": {"escalate": {"hitl_pattern": use}}, **fields}

    async def create(self, **fields: Any) -> dict[str, Any]:
        return created(await self.api.http.post(self.rules, json=self.rule(**fields)))

    async def refused(self, use: Any = USE, **fields: Any) -> list[str]:
        answer = await self.api.http.post(self.rules, json=self.rule(use, **fields))
        return [detail["field"] for detail in failed(answer, 422, "SCAIQUEUE_INVALID_RULE")["details"]]

    async def publish(self, **fields: Any) -> dict[str, Any]:
        return created(await self.api.http.post(self.queue, json={"type": "order", "body": 1, **fields}))

    async def pattern(self, **changed: Any) -> dict[str, Any]:
        return created(await self.api.http.post(f"{self.scope}/hitl-patterns", json={**PATTERN, **changed}))


@pytest.fixture
async def desk(api: Api) -> Desk:
    scope = await api.scope()
    await api.queue(scope, slug="orders")
    found = Desk(api, f"/scopes/{scope['id']}")
    await found.pattern()
    return found


async def test_from_the_rule_to_the_decision(desk: Desk) -> None:
    http = desk.api.http
    rule = await desk.create()
    assert rule["then"] == {"escalate": {"hitl_pattern": {**USE, "version": 1}}}
    message = await desk.publish(labels={"who": "Ada"})
    assert message["state"] == "awaiting_review"
    spec = (await read(desk.api, desk.scope, message["id"]))["hitl_spec"]
    assert spec["sections"][0] == {"type": "context", "title": "order of Ada", "content": {"limit": 5}}
    assert (await http.post(f"{desk.queue}/claim", json={})).json()["data"] == []
    (review,) = (await http.get(f"{desk.scope}/reviews")).json()["data"]
    assert (review["id"], review["hitl_spec"], review["on_timeout"]) == (message["id"], spec, "escalate")
    assert 0 < review["remaining_s"] <= 60
    decision = f"{desk.scope}/messages/{message['id']}/decision"
    failed(await http.post(decision, json={"decision": "maybe"}), 422, "SCAIQUEUE_HITL_INVALID_DECISION")
    assert (await http.post(decision, json={"decision": "no"})).status_code == 200
    done = await read(desk.api, desk.scope, message["id"])
    assert (done["state"], done["response"]["decision"], done["hitl_spec"]) == ("completed", "no", spec)
    history = (await http.get(f"{desk.scope}/messages/{message['id']}/history")).json()["data"]
    steps = [(step["event"], step["detail"]) for step in history["transitions"]]
    assert steps == [("published", None), ("escalated", "ask: review"), ("decided", None)]
    async with httpx.AsyncClient() as plain:
        text = (await plain.get(desk.api.server.url + "/metrics")).text
    slug = (await http.get(desk.scope)).json()["data"]["slug"]
    counted = f'{{action="reviewed",rule="ask",scope="{slug}",tenant="default"}} 1.0'
    assert f"scaiqueue_rule_actions_total{counted}" in text


async def test_a_failed_message_is_asked_about(desk: Desk) -> None:
    http = desk.api.http
    await desk.create(trigger="message_failed")
    message = await desk.publish()
    ((held,),) = [(await http.post(f"{desk.queue}/claim", json={})).json()["data"]]
    answer = await http.post(
        f"{desk.scope}/messages/{message['id']}/fail",
        json={"reason": "r", "claim_token": held["claim_token"]},
    )
    assert answer.json()["data"]["state"] == "awaiting_review"
    (review,) = (await http.get(f"{desk.scope}/reviews")).json()["data"]
    assert review["hitl_spec"]["sections"][0]["title"] == "order of -"


async def test_the_dry_run_shows_what_is_asked(desk: Desk) -> None:
    await desk.create()
    asked = {"queue": "orders", "message": {"type": "order", "labels": {"who": "Ada"}}}
    found = (await desk.api.http.post(f"{desk.rules}/evaluate", json=asked)).json()["data"]
    assert (found["matched"], found["outcome"], found["queue"]) == (True, "awaiting_review", "orders")
    assert found["hitl_spec"]["sections"][0]["title"] == "order of Ada"
    assert found["review_timeout_s"] == 60
    assert [(step["event"], step["detail"]) for step in found["steps"]] == [("escalated", "ask: review")]


async def test_a_rule_keeps_what_its_version_made(desk: Desk) -> None:
    http = desk.api.http
    rule = await desk.create()
    other = {"sections": PATTERN["spec"]["sections"][1:]}
    assert (await desk.pattern(spec=other))["version"] == 2
    assert (await http.delete(f"{desk.scope}/hitl-patterns/check@1")).status_code == 200
    changed = (await http.patch(f"{desk.rules}/ask", json={"position": 3})).json()["data"]
    assert (changed["position"], changed["then"]) == (3, rule["then"])
    message = await desk.publish()
    assert len((await read(desk.api, desk.scope, message["id"]))["hitl_spec"]["sections"]) == 2
    newer = {"escalate": {"hitl_pattern": {"name": "check", "parameters": {"other": "no"}}}}
    changed = (await http.patch(f"{desk.rules}/ask", json={"then": newer})).json()["data"]
    assert changed["then"]["escalate"]["hitl_pattern"]["version"] == 2
    assert len((await read(desk.api, desk.scope, (await desk.publish())["id"]))["hitl_spec"]["sections"]) == 1


def given(**parameters: Any) -> dict[str, Any]:
    return {"name": "check", "parameters": {**USE["parameters"], **parameters}}


@pytest.mark.parametrize(
    ("use", "place"),
    [
        ({**USE, "name": "nowhere"}, ""),
        ({**USE, "version": 7}, ""),
        ({**USE, "colour": "red"}, ".colour"),
        ({"name": "check", "parameters": {"title": "x", "other": "no"}}, ".parameters.details"),
        (given(title="{{body.n}}"), ".parameters.title"),
        (given(details=[{"a": "{{ who }}"}]), ".parameters.details"),
        (given(other="{{type}}"), ".parameters"),
        (given(other="yes"), ".spec.sections[1].options"),
        (given(title=""), ".spec.sections[0].title"),
        (given(title="{{type}}" * 5), ".parameters"),
        (given(details="x" * 17_000), ".parameters"),
    ],
)
async def test_what_makes_no_review_is_told_where(desk: Desk, use: dict[str, Any], place: str) -> None:
    assert await desk.refused(use) == [f"then.escalate.hitl_pattern{place}"]


async def test_a_completed_message_is_asked_about_no_more(desk: Desk) -> None:
    assert await desk.refused(trigger="message_completed") == ["then"]
    assert (await desk.create(trigger="message_expired"))["trigger"] == "message_expired"


async def test_each_copy_of_a_broadcast_message_is_asked_about(desk: Desk) -> None:
    http, scope = desk.api.http, {"id": desk.scope.rpartition("/")[2]}
    await desk.api.queue(scope, slug="news", consumer_mode="broadcast")
    for name in ("a", "b"):
        created(await http.post(f"{desk.scope}/queues/news/subscriptions", json={"name": name}))
    await desk.create(queue="news")
    body = {"type": "order", "body": 1, "labels": {"who": "Ada"}}
    published = created(await http.post(f"{desk.scope}/queues/news/messages", json=body))
    assert published["state"] == "completed"
    reviews = (await http.get(f"{desk.scope}/reviews")).json()["data"]
    assert {review["queue"] for review in reviews} == {"news.a", "news.b"}
    for review in reviews:
        copy = await read(desk.api, desk.scope, review["id"])
        assert (copy["state"], copy["parent_id"]) == ("awaiting_review", published["id"])
        assert copy["hitl_spec"]["sections"][0]["title"] == "order of Ada"
        decision = {"decision": "yes"}
        decided = await http.post(f"{desk.scope}/messages/{copy['id']}/decision", json=decision)
        assert decided.json()["data"]["state"] == "completed", decided.text
