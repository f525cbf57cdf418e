"""Reviews while Redis is away: they wait, and time out as their specs say; decisions come when it is back."""

from __future__ import annotations

from typing import Any

from tests.api.conftest import Api, created, failed
from tests.eventually import eventually
from tests.fallback.conftest import Ground, ground, reaches
from tests.review.test_reviews import SPEC, read

SAID = {"decision": "approve", "fields": {"comment": "x"}}


async def test_reviews_time_out_by_the_rows_and_are_decided_after(api: Api) -> None:
    here = await ground(api)

    async def publish(timeout_s: float, on_timeout: str) -> str:
        spec = {**SPEC, "timeout_s": timeout_s, "on_timeout": on_timeout}
        message = created(await api.http.post(here.path, json={"type": "t", "hitl_spec": spec}))
        assert message["state"] == "awaiting_review"
        return str(message["id"])

    before = await publish(3600, "expire")
    ruled = await _put_there_by_a_rule(here)
    api.redis.kill()
    await reaches(api, "fallback")
    decision = f"{here.scope}/messages/{before}/decision"
    failed(await api.http.post(decision, json=SAID), 503, "SCAIQUEUE_UNAVAILABLE")
    outcomes = {"auto:approve": "completed", "requeue": "pending", "escalate": "expired", "expire": "expired"}
    ids = {how: await publish(0.05, how) for how in outcomes}
    await here.claim()  # the queue's sets are made at its first claim

    async def settled() -> dict[str, Any]:
        found = {how: await read(api, here.scope, id) for how, id in ids.items()}
        states = {how: "pending" if m["state"] == "claimed" else m["state"] for how, m in found.items()}
        assert states == outcomes
        return found

    found = await eventually(settled)
    assert found["auto:approve"]["response"]["reviewer"] == "system:timeout"
    assert found["escalate"]["priority_tier"] == "critical"

    async def decided_by_time() -> dict[str, Any]:
        message = await read(api, here.scope, ruled)
        assert message["state"] == "completed"
        return message

    assert (await eventually(decided_by_time))["response"]["reviewer"] == "system:timeout"

    api.redis.start()
    await reaches(api, "redis")
    assert [review["id"] for review in (await api.http.get(f"{here.scope}/reviews")).json()["data"]] == [
        before
    ]
    assert (await api.http.post(decision, json=SAID)).status_code == 200
    assert (await read(api, here.scope, before))["response"]["decision"] == "approve"


async def _put_there_by_a_rule(here: Ground) -> str:
    """A message that failed; a rule's pattern decides it in 3 s, and its header has no spec."""
    http = here.api.http
    spec = {**SPEC, "timeout_s": 3, "on_timeout": "auto:approve"}
    created(await http.post(f"{here.scope}/hitl-patterns", json={"name": "p", "spec": spec}))
    then = {"escalate": {"hitl_pattern": {"name": "p"}}}
    rule = {"name": "ask", "trigger": "message_failed", "then": then}
    created(await http.post(f"{here.scope}/routing-rules", json=rule))
    await here.publish(1)
    (held,) = await here.claim()
    failed_there = await here.settle("fail", held, reason="r")
    assert failed_there.json()["data"]["state"] == "awaiting_review"
    # The list answers when the rows have it.
    listed = (await http.get(f"{here.scope}/reviews")).json()["data"]
    assert held["id"] in [review["id"] for review in listed]
    return str(held["id"])
