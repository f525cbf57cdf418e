"""What becomes of reviews that nobody decides in time. Each look is a claim, which settles what is due."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Api, created
from tests.eventually import eventually
from tests.review.test_reviews import SPEC, bench, read


async def overdue(
    api: Api, on_timeout: str | None, until: str, **extra: Any
) -> tuple[dict[str, Any], list[Any]]:
    """The message once it is in the state `until`, and what claims were given meanwhile."""
    scope, queue = await bench(api)
    spec = {**SPEC, "timeout_s": 0.02} | ({"on_timeout": on_timeout} if on_timeout else {})
    message = created(await api.http.post(queue, json={"type": "t", "body": 1, "hitl_spec": spec, **extra}))
    claimed: list[Any] = []

    async def look() -> dict[str, Any]:
        claimed.extend((await api.http.post(f"{queue}/claim", json={})).json()["data"])
        found = await read(api, scope, message["id"])
        assert found["state"] == until
        return found

    return await eventually(look), claimed


@pytest.mark.parametrize("on_timeout", [None, "expire"])
async def test_it_expires(api: Api, on_timeout: str | None) -> None:
    found, claimed = await overdue(api, on_timeout, "expired")
    assert (found["response"], claimed) == (None, [])


async def test_an_option_decides_by_itself(api: Api) -> None:
    found, claimed = await overdue(api, "auto:approve", "completed")
    assert claimed == []
    response = dict(found["response"])
    # The script writes the time; it is the transition's own.
    assert response.pop("decided_at") == found["completed_at"]
    assert response == {"decision": "approve", "fields": {}, "reviewer": "system:timeout"}


async def test_it_goes_to_ordinary_consumers(api: Api) -> None:
    found, (claimed,) = await overdue(api, "requeue", "claimed", labels={"a": "b"})
    assert claimed["hitl_spec"]["on_timeout"] == "requeue"
    assert (claimed["attempts"], claimed["body"], claimed["labels"]) == (1, 1, {"a": "b"})
    assert found["hitl_spec"] == claimed["hitl_spec"]


async def test_it_becomes_critical_once_and_then_expires(api: Api) -> None:
    found, claimed = await overdue(api, "escalate", "expired", priority={"tier": "low", "score": 7})
    assert claimed == []
    assert (found["priority_tier"], found["priority_score"]) == ("critical", 7)
    path = f"/scopes/{found['scope_id']}/messages/{found['id']}/history"
    steps = (await api.http.get(path)).json()["data"]["transitions"]
    assert [(step["event"], step["detail"]) for step in steps] == [
        ("published", None), ("escalated", "review_timeout"), ("expired", "review_timeout"),
    ]  # fmt: skip


async def test_what_is_escalated_can_be_decided(api: Api) -> None:
    scope, queue = await bench(api)
    spec = {**SPEC, "timeout_s": 2, "on_timeout": "escalate"}
    message = created(await api.http.post(queue, json={"type": "t", "hitl_spec": spec}))
    before = (await api.http.get(f"{scope}/reviews")).json()["data"][0]

    async def look() -> dict[str, Any]:
        await api.http.post(f"{queue}/claim", json={})
        (review,) = (await api.http.get(f"{scope}/reviews")).json()["data"]
        assert review["escalated"]
        found: dict[str, Any] = review
        return found

    review = await eventually(look)
    assert review["priority_tier"] == "critical"
    assert review["deadline"] > before["deadline"]
    said = {"decision": "approve", "fields": {"comment": "x"}, "version": before["version"]}
    path = f"{scope}/messages/{message['id']}/decision"
    assert (await api.http.post(path, json=said)).status_code == 409
    assert (await api.http.post(path, json={**said, "version": review["version"]})).status_code == 200
