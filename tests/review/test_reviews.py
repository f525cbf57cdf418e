"""From a publish with a spec or a pattern to the reviewer's decision, over HTTP."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from scaiqueue.api.examples import EXAMPLES
from tests.api.conftest import Api, created, failed
from tests.review.test_specs import nested

SPEC: dict[str, Any] = {
    "sections": [
        {"type": "context", "title": "Order", "content": {"id": 7}},
        {"type": "input", "field": "comment", "kind": "textarea", "required": True},
        {
            "type": "decision",
            "field": "refund",
            "options": ["approve", {"id": "reject", "requires_note": True}],
        },
    ],
    "timeout_s": 3600,
}


async def bench(api: Api) -> tuple[str, str]:
    """The paths of a scope and of a queue of it."""
    scope = await api.scope()
    queue = await api.queue(scope)
    path = f"/scopes/{scope['id']}"
    return path, f"{path}/queues/{queue['slug']}/messages"


async def read(api: Api, scope: str, message_id: str) -> dict[str, Any]:
    data: dict[str, Any] = (await api.http.get(f"{scope}/messages/{message_id}")).json()["data"]
    return data


async def test_a_message_waits_until_it_is_decided(api: Api) -> None:
    scope, queue = await bench(api)
    message = created(await api.http.post(queue, json={"type": "refund", "body": 1, "hitl_spec": SPEC}))
    assert (message["state"], message["hitl_spec"]) == ("awaiting_review", SPEC)
    assert message == await read(api, scope, message["id"])
    assert (await api.http.post(f"{queue}/claim", json={})).json()["data"] == []

    (review,) = (await api.http.get(f"{scope}/reviews")).json()["data"]
    assert (review["id"], review["hitl_spec"], review["on_timeout"]) == (message["id"], SPEC, "expire")
    assert 0 <= review["age_s"] < 3600
    assert 0 < review["remaining_s"] <= 3600
    assert review["deadline"] == message["visible_at"]

    said = {
        "decision": "approve",
        "fields": {"comment": "fine"},
        "reviewer": "ada",
        "version": review["version"],
    }
    answer = await api.http.post(f"{scope}/messages/{message['id']}/decision", json=said)
    assert answer.status_code == 200, answer.text
    decided = answer.json()["data"]
    assert decided["state"] == "completed"
    after = await read(api, scope, message["id"])
    assert after["state"] == "completed"
    assert after["response"] == decided["response"]
    assert {**after["response"], "decided_at": ""} == {
        "decision": "approve", "fields": {"comment": "fine"}, "reviewer": "ada", "decided_at": "",
    }  # fmt: skip
    assert (await api.http.get(f"{scope}/reviews")).json()["data"] == []
    steps = (await api.http.get(f"{scope}/messages/{message['id']}/history")).json()["data"]["transitions"]
    assert [step["event"] for step in steps] == ["published", "decided"]


async def test_a_decision_that_does_not_fit(api: Api) -> None:
    scope, queue = await bench(api)
    message = created(await api.http.post(queue, json={"type": "refund", "hitl_spec": SPEC}))
    path = f"{scope}/messages/{message['id']}/decision"
    code = "SCAIQUEUE_HITL_INVALID_DECISION"
    error = failed(await api.http.post(path, json={"decision": "maybe", "fields": {"x": 1}}), 422, code)
    assert [detail["field"] for detail in error["details"]] == ["decision", "fields.comment", "fields.x"]
    said = {"decision": "reject", "fields": {"comment": "no"}}
    error = failed(await api.http.post(path, json=said), 422, code)
    assert [detail["field"] for detail in error["details"]] == ["note"]
    error = failed(await api.http.post(path, json={**said, "reviewer": "system:me"}), 422, "VALIDATION_ERROR")
    assert error["details"][0]["field"] == "reviewer"
    error = failed(await api.http.post(path, json={"fields": []}), 422, "VALIDATION_ERROR")
    assert {detail["field"] for detail in error["details"]} == {"decision", "fields"}
    assert (await read(api, scope, message["id"]))["state"] == "awaiting_review"
    answer = await api.http.post(path, json={**said, "note": "too late"})
    assert answer.json()["data"]["response"]["note"] == "too late"
    key = answer.json()["data"]["response"]["reviewer"]
    assert key in {listed["id"] for listed in (await api.http.get("/api-keys")).json()["data"]}


async def test_of_many_reviewers_at_once_one_wins(api: Api) -> None:
    scope, queue = await bench(api)
    message = created(await api.http.post(queue, json={"type": "refund", "hitl_spec": SPEC}))
    path = f"{scope}/messages/{message['id']}/decision"
    said = [{"decision": "approve", "fields": {"comment": str(n)}, "reviewer": str(n)} for n in range(8)]
    answers = await asyncio.gather(*(api.http.post(path, json=one) for one in said))
    won = [number for number, answer in enumerate(answers) if answer.status_code == 200]
    assert len(won) == 1
    for number, answer in enumerate(answers):
        if number not in won:
            failed(answer, 409, "SCAIQUEUE_INVALID_STATE")
    assert (await read(api, scope, message["id"]))["response"]["reviewer"] == str(won[0])
    metrics = (await api.http.get(f"{api.server.url}/metrics")).text
    for result in ("made", "late"):
        assert f'scaiqueue_reviews_decided_total{{result="{result}"}}' in metrics


async def test_a_decision_about_what_awaits_none(api: Api) -> None:
    scope, queue = await bench(api)
    said = {"decision": "approve", "fields": {"comment": "x"}}
    plain = created(await api.http.post(queue, json={"type": "t"}))
    error = failed(
        await api.http.post(f"{scope}/messages/{plain['id']}/decision", json=said),
        409,
        "SCAIQUEUE_INVALID_STATE",
    )
    assert error["details"] == [{"field": "state", "message": "pending"}]
    unknown = f"{scope}/messages/01939d2e-6f0c-7d52-b8c6-7a2f6c1f0a11/decision"
    failed(await api.http.post(unknown, json=said), 404, "SCAIQUEUE_MESSAGE_NOT_FOUND")
    message = created(await api.http.post(queue, json={"type": "t", "hitl_spec": SPEC}))
    path = f"{scope}/messages/{message['id']}/decision"
    error = failed(await api.http.post(path, json={**said, "version": "1-0"}), 409, "SCAIQUEUE_INVALID_STATE")
    assert [detail["field"] for detail in error["details"]] == ["state", "version"]
    assert (await api.http.post(path, json=said)).status_code == 200
    failed(await api.http.post(path, json=said), 409, "SCAIQUEUE_INVALID_STATE")
    large = {"decision": "approve", "fields": {"comment": "x" * 300_000}}
    message = created(await api.http.post(queue, json={"type": "t", "hitl_spec": SPEC}))
    answer = await api.http.post(f"{scope}/messages/{message['id']}/decision", json=large)
    failed(answer, 413, "SCAIQUEUE_MESSAGE_TOO_LARGE")


@pytest.mark.parametrize(
    ("extra", "field"),
    [
        ({"hitl_spec": {"sections": []}}, "hitl_spec.sections"),
        ({"hitl_spec": {"sections": SPEC["sections"][:1]}}, "hitl_spec.sections"),
        (
            {"hitl_spec": {"sections": [{"type": "input", "field": "x", "kind": "colour"}]}},
            "hitl_spec.sections[0].kind",
        ),
        ({"hitl_spec": {**SPEC, "timeout_s": 0}}, "hitl_spec.timeout_s"),
        ({"hitl_spec": {**SPEC, "on_timeout": "explode"}}, "hitl_spec.on_timeout"),
        ({"hitl_spec": {**SPEC, "on_timeout": "auto:reject"}}, "hitl_spec.on_timeout"),
        ({"hitl_spec": SPEC, "delay_s": 5}, "delay_s"),
        ({"hitl_spec": SPEC, "hitl_pattern": {"name": "p"}}, "hitl_pattern"),
    ],
)
async def test_a_publish_with_a_wrong_spec(api: Api, extra: dict[str, Any], field: str) -> None:
    _, queue = await bench(api)
    error = failed(await api.http.post(queue, json={"type": "t", **extra}), 422, "VALIDATION_ERROR")
    assert [detail["field"] for detail in error["details"]] == [field]


async def test_a_spec_that_is_too_large(api: Api) -> None:
    _, queue = await bench(api)
    sections = [{"type": "context", "title": "t", "content": "x" * 16_384}, *SPEC["sections"]]
    error = failed(
        await api.http.post(queue, json={"type": "t", "hitl_spec": {"sections": sections}}),
        422,
        "VALIDATION_ERROR",
    )
    assert error["details"][0]["field"] == "hitl_spec"
    assert "16384 bytes" in error["details"][0]["message"]


async def test_patterns_are_versions_that_never_change(api: Api) -> None:
    scope, queue = await bench(api)
    path, example = f"{scope}/hitl-patterns", EXAMPLES["CreatePattern"]
    first = created(await api.http.post(path, json=example))
    assert (first["version"], first["parameters"]) == (1, ["customer", "order"])
    assert first["spec"] == example["spec"]
    error = failed(await api.http.post(path, json={**example, "version": 1}), 409, "SLUG_CONFLICT")
    assert error["details"][0]["field"] == "version"
    changed = {**example, "version": 5, "spec": {**example["spec"], "timeout_s": 60}}
    fifth = created(await api.http.post(path, json=changed))
    assert [one["version"] for one in (await api.http.get(path)).json()["data"]] == [1, 5]
    assert (await api.http.get(path, params={"name": "none"})).json()["data"] == []
    page = (await api.http.get(path, params={"limit": 1})).json()
    rest = (await api.http.get(path, params={"cursor": page["meta"]["next_cursor"]})).json()
    assert [one["id"] for one in (*page["data"], *rest["data"])] == [first["id"], fifth["id"]]
    for name, found in (("refund", fifth), ("refund@1", first), (first["id"], first)):
        assert (await api.http.get(f"{path}/{name}")).json()["data"] == found
    for name in ("none", "refund@2", "refund@x", "refund@99999999999"):
        failed(await api.http.get(f"{path}/{name}"), 404, "SCAIQUEUE_PATTERN_NOT_FOUND")

    use = {"name": "refund", "parameters": {"customer": "Ada", "order": {"id": 7}, "more": 1}}
    message = created(await api.http.post(queue, json={"type": "t", "hitl_pattern": use}))
    assert message["hitl_spec"]["timeout_s"] == 60
    assert message["hitl_spec"]["sections"][0] == {
        "type": "context",
        "title": "Refund for Ada",
        "content": {"id": 7},
    }
    message = created(await api.http.post(queue, json={"type": "t", "hitl_pattern": {**use, "version": 1}}))
    assert message["hitl_spec"]["timeout_s"] == 3600
    preview = await api.http.post(f"{path}/refund@1/expand", json={"parameters": use["parameters"]})
    assert preview.json()["data"] == message["hitl_spec"]

    assert (await api.http.delete(f"{path}/refund")).json()["data"]["version"] == 5
    message = created(await api.http.post(queue, json={"type": "t", "hitl_pattern": use}))
    assert message["hitl_spec"]["timeout_s"] == 3600


async def test_patterns_and_parameters_that_are_wrong(api: Api) -> None:
    scope, queue = await bench(api)
    path, example = f"{scope}/hitl-patterns", EXAMPLES["CreatePattern"]
    answer = await api.http.post(queue, json={"type": "t", "hitl_pattern": {"name": "refund"}})
    failed(answer, 404, "SCAIQUEUE_PATTERN_NOT_FOUND")
    wrong = {**example, "spec": {"sections": example["spec"]["sections"][:1]}}
    error = failed(await api.http.post(path, json=wrong), 422, "VALIDATION_ERROR")
    assert error["details"][0]["field"] == "spec.sections"
    long = [{"type": "context", "title": "t", "content": "x" * 16_384}, *example["spec"]["sections"]]
    error = failed(
        await api.http.post(path, json={**example, "spec": {"sections": long}}), 422, "VALIDATION_ERROR"
    )
    assert error["details"][0]["field"] == "spec"

    created(await api.http.post(path, json=example))
    use = {"name": "refund", "parameters": {"customer": "Ada"}}
    error = failed(
        await api.http.post(queue, json={"type": "t", "hitl_pattern": use}), 422, "VALIDATION_ERROR"
    )
    assert [detail["field"] for detail in error["details"]] == ["hitl_pattern.parameters.order"]
    error = failed(await api.http.post(f"{path}/refund/expand"), 422, "VALIDATION_ERROR")
    assert [detail["field"] for detail in error["details"]] == ["parameters.customer", "parameters.order"]
    for name, order in ((".order", nested(101)), ("", "x" * 16_385)):
        use = {"name": "refund", "parameters": {"customer": "Ada", "order": order}}
        answer = await api.http.post(queue, json={"type": "t", "hitl_pattern": use})
        error = failed(answer, 422, "VALIDATION_ERROR")
        assert [detail["field"] for detail in error["details"]] == [f"hitl_pattern.parameters{name}"]
    use = {"name": "refund", "parameters": {"customer": "x" * 1024, "order": 1}}
    error = failed(
        await api.http.post(queue, json={"type": "t", "hitl_pattern": use}), 422, "VALIDATION_ERROR"
    )
    assert [detail["field"] for detail in error["details"]] == ["hitl_pattern.spec.sections[0].title"]


async def test_a_batch_judges_each_message_alone(api: Api) -> None:
    _, queue = await bench(api)
    messages = [
        {"type": "t", "hitl_spec": SPEC},
        {"type": "t", "hitl_pattern": {"name": "none"}},
        {"type": "t"},
    ]
    answer = (await api.http.post(f"{queue}/batch", json={"messages": messages})).json()["data"]
    assert [item.get("state") for item in answer] == ["awaiting_review", None, "pending"]
    assert answer[1]["error"]["code"] == "SCAIQUEUE_PATTERN_NOT_FOUND"


async def test_the_list_in_pages_and_by_queue(api: Api) -> None:
    scope, queue = await bench(api)
    created(await api.http.post(f"{scope}/queues", json={"slug": "other", "display_name": "o"}))
    other = f"{scope}/queues/other/messages"
    ids = [created(await api.http.post(queue, json={"type": "t", "hitl_spec": SPEC}))["id"] for _ in range(3)]
    one = created(await api.http.post(other, json={"type": "u", "correlation_id": "c", "hitl_spec": SPEC}))[
        "id"
    ]
    seen, cursor = [], ""
    while cursor is not None:
        page = (await api.http.get(f"{scope}/reviews", params={"limit": 2, "cursor": cursor})).json()
        seen += [review["id"] for review in page["data"]]
        cursor = page["meta"]["next_cursor"]
    assert seen == [*ids, one]
    for by in ({"queue": "other"}, {"type": "u"}, {"correlation_id": "c"}):
        assert [r["id"] for r in (await api.http.get(f"{scope}/reviews", params=by)).json()["data"]] == [one]
    failed(await api.http.get(f"{scope}/reviews?queue=none"), 404, "SCAIQUEUE_QUEUE_NOT_FOUND")
    failed(await api.http.get(f"{scope}/reviews?limit=0"), 422, "VALIDATION_ERROR")
