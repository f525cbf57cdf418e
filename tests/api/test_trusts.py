"""Trusts, and the messages that rules send to another scope."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import Api, created, failed
from tests.eventually import eventually


class Border:
    """A scope with a queue `orders`, and another one, which is to receive, with `parcels` and `letters`."""

    def __init__(self, api: Api, here: dict[str, Any], there: dict[str, Any]) -> None:
        self.api, self.here, self.there = api, f"/scopes/{here['id']}", f"/scopes/{there['id']}"
        self.here_id, self.there_id, self.there_slug = here["id"], there["id"], there["slug"]

    async def trust(self, **fields: Any) -> dict[str, Any]:
        body = {"from": self.here_id, **fields}
        return created(await self.api.http.post(self.there + "/trusts", json=body))

    async def rule(self, **fields: Any) -> Any:
        base = {
            "name": "abroad",
            "queue": "orders",
            "trigger": "message_published",
            "then": {"route": {"scope": self.there_slug, "queue": "parcels", **fields.pop("route", {})}},
        }
        return await self.api.http.post(self.here + "/routing-rules", json={**base, **fields})

    async def publish(self, **fields: Any) -> str:
        path = self.here + "/queues/orders/messages"
        body = {"type": "order.paid", "body": {"n": 1}, **fields}
        found: str = created(await self.api.http.post(path, json=body))["id"]
        return found

    async def message(self, message_id: str, scope: str = "") -> dict[str, Any]:
        answer = await self.api.http.get(f"{scope or self.here}/messages/{message_id}")
        data: dict[str, Any] = answer.json()["data"]
        return data

    async def settled(self, message_id: str, state: str = "completed", queue: str = "_outbound") -> Any:
        async def there() -> Any:
            found = await self.message(message_id)
            return found if (found["state"], found["queue"]) == (state, queue) else None

        return await eventually(there)

    async def arrived(self, queue: str = "parcels") -> list[dict[str, Any]]:
        answer = await self.api.http.post(
            f"{self.there}/queues/{queue}/messages/claim", json={"batch_size": 50}
        )
        data: list[dict[str, Any]] = answer.json()["data"]
        return data


@pytest.fixture
async def border(api: Api) -> Border:
    here, there = await api.scope(), await api.scope()
    await api.queue(here, slug="orders")
    for slug in ("parcels", "letters"):
        await api.queue(there, slug=slug)
    return Border(api, here, there)


async def test_a_message_is_sent_to_a_scope_that_trusts(border: Border) -> None:
    await border.trust(allow=["parcels"])
    rule = created(await border.rule())
    assert rule["then"]["route"]["scope"] == border.there_id
    sent = await border.publish(
        correlation_id="c",
        labels={"region": "eu"},
        priority={"tier": "high", "score": 7},
        idempotency_key="k",
    )
    first = await border.settled(sent)
    (found,) = await border.arrived()
    assert first["response"] == {
        "transferred": {"scope": border.there_id, "queue": "parcels", "id": found["id"]}
    }
    kept = ("correlation_id", "labels", "priority_tier", "priority_score", "message_type", "body")
    assert {name: found[name] for name in kept} == {name: first[name] for name in kept}
    assert (found["parent_id"], found["causation_id"]) == (sent, sent)
    assert (found["idempotency_key"], found["attempts"]) == (f"transfer:{sent}", 1)
    history = (await border.api.http.get(f"{border.here}/messages/{sent}/history")).json()["data"]
    steps = [(step["event"], step["detail"]) for step in history["transitions"]]
    assert ("routed", f"abroad: to {border.there_id}/parcels") in steps
    metrics = (await border.api.http.get(border.api.server.url + "/metrics")).text
    assert 'scaiqueue_transfers_total{result="arrived"}' in metrics


async def test_a_copy_is_sent_and_the_first_stays(border: Border) -> None:
    await border.trust()
    created(await border.rule(route={"mode": "copy"}, trigger="message_completed"))
    sent = await border.publish()
    (claimed,) = (await border.api.http.post(f"{border.here}/queues/orders/messages/claim")).json()["data"]
    done = {"claim_token": claimed["claim_token"]}
    assert (await border.api.http.post(f"{border.here}/messages/{sent}/complete", json=done)).is_success
    found = await eventually(border.arrived)
    copy = await border.message(found[0]["parent_id"])
    assert (copy["queue"], copy["parent_id"]) == ("_outbound", sent)
    assert (await border.message(sent))["queue"] == "orders"


async def test_a_rule_needs_a_trust(border: Border) -> None:
    async def refused(**fields: Any) -> None:
        error = failed(await border.rule(**fields), 422, "SCAIQUEUE_INVALID_RULE")
        assert [detail["field"] for detail in error["details"]] == ["then.route.scope"]

    await refused()
    await border.trust(allow=["letters"])
    await refused()
    await border.trust(allow=["parcels"])
    await refused(route={"queue": "nothing"})
    await refused(route={"queue": "_dead_letter"})
    await refused(route={"scope": "nowhere"})
    created(await border.rule())
    # The scope itself needs none.
    await border.api.queue({"id": border.here_id}, slug="paid")
    own = created(await border.rule(name="own", route={"scope": border.here_id, "queue": "paid"}))
    assert own["then"] == {"route": {"queue": "paid"}}


async def test_a_trust_that_is_taken_back(border: Border) -> None:
    trust = await border.trust()
    rule = created(await border.rule())
    path = f"{border.there}/trusts/{trust['id']}"
    ended = (await border.api.http.delete(path)).json()["data"]
    assert ended == {"id": trust["id"], "rules_disabled": ["abroad"], "deleted": True}
    failed(await border.api.http.delete(path), 404, "SCAIQUEUE_TRUST_NOT_FOUND")
    rule_path = f"{border.here}/routing-rules/{rule['id']}"
    assert (await border.api.http.get(rule_path)).json()["data"]["enabled"] is False
    failed(await border.api.http.post(rule_path + "/enable"), 422, "SCAIQUEUE_INVALID_RULE")
    stays = await border.publish()
    assert (await border.message(stays))["queue"] == "orders"
    await border.trust()
    assert (await border.api.http.post(rule_path + "/enable")).is_success
    await border.settled(await border.publish())


async def test_what_the_trust_does_not_let_in_goes_to_the_dead_letter(border: Border) -> None:
    await border.trust(filter={"types": ["order.paid"], "labels": {"region": "eu"}})
    created(await border.rule())
    good = await border.publish(labels={"region": "eu", "more": "x"})
    for wrong in ({"labels": {"region": "us"}}, {"type": "order.lost", "labels": {"region": "eu"}}):
        kept = await border.settled(await border.publish(**wrong), "pending", "_dead_letter")
        assert (kept["origin"]["queue"], kept["origin"]["reason"]) == ("_outbound", "TRUST_MISSING")
    await border.settled(good)
    assert [message["parent_id"] for message in await border.arrived()] == [good]
    # A redrive sends it on its way again, and now it is let in.
    await border.trust()
    assert (await border.api.http.post(border.here + "/dead-letter/redrive")).status_code == 202
    assert len(await eventually(border.arrived)) >= 1


async def test_a_target_that_is_gone_or_closed(border: Border) -> None:
    await border.trust()
    created(await border.rule())
    await border.api.http.post(f"{border.there}/queues/parcels/pause")
    waiting = await border.publish(max_retries=5)
    await eventually(lambda: _tried(border, waiting))
    await border.api.http.post(f"{border.there}/queues/parcels/resume")
    await border.settled(waiting)
    await border.arrived()
    for gone, reason in ((border.there + "/queues/parcels", "ROUTE_TARGET"), (border.there, "TRUST_MISSING")):
        assert (await border.api.http.delete(gone, params={"force": "true"})).is_success
        lost = await border.settled(await border.publish(), "pending", "_dead_letter")
        assert lost["origin"]["reason"] == reason


async def _tried(border: Border, message_id: str) -> bool:
    found = await border.message(message_id)
    return bool(found["failure_reason"] == "ROUTE_TARGET")


async def test_a_message_sent_to_and_fro_ends(border: Border) -> None:
    await border.trust()
    created(await border.api.http.post(border.here + "/trusts", json={"from": border.there_id}))
    created(await border.rule())
    back = {
        "name": "back", "queue": "parcels", "trigger": "message_published",
        "then": {"route": {"scope": border.here_id, "queue": "orders"}},
    }  # fmt: skip
    created(await border.api.http.post(border.there + "/routing-rules", json=back))
    await border.publish(correlation_id="loop")

    async def ended() -> Any:
        for scope in (border.here, border.there):
            listed = await border.api.http.get(scope + "/messages", params={"queue": "_dead_letter"})
            if found := listed.json()["data"]:
                return found
        return None

    (looped,) = await eventually(ended)
    assert looped["origin"]["reason"] == "ROUTING_LOOP"


async def test_the_dry_run_says_that_it_is_a_transfer(border: Border) -> None:
    await border.trust()
    created(await border.rule())
    asked = {"queue": "orders", "message": {"type": "order.paid"}}
    answer = await border.api.http.post(border.here + "/routing-rules/evaluate", json=asked)
    found = answer.json()["data"]
    assert (found["outcome"], found["queue"]) == ("routed", "_outbound")
    assert found["transfer"] == {"scope": border.there_id, "queue": "parcels"}


async def test_the_queue_of_what_leaves_belongs_to_the_system(border: Border) -> None:
    await border.trust()
    assert (await border.api.http.get(border.here + "/queues/_outbound")).status_code == 404
    created(await border.rule())
    path = border.here + "/queues/_outbound"
    assert (await border.api.http.get(path)).json()["data"]["system"] is True
    for answer in (
        await border.api.http.post(path + "/messages", json={"type": "t"}),
        await border.api.http.post(path + "/pause"),
        await border.api.http.delete(path),
    ):
        failed(answer, 403, "SCAIQUEUE_SYSTEM_QUEUE_READONLY")


async def test_trusts_are_shown_to_both(border: Border) -> None:
    trust = await border.trust(allow=["letters"], to=border.there_slug)
    assert (trust["from"], trust["to"], len(trust["allow"])) == (border.here_id, border.there_id, 1)
    for scope in (border.here, border.there):
        assert (await border.api.http.get(scope + "/trusts")).json()["data"] == [trust]
        assert (await border.api.http.get(f"{scope}/trusts/{trust['id']}")).json()["data"] == trust
    stranger = await border.api.scope()
    found = await border.api.http.get(f"/scopes/{stranger['id']}/trusts/{trust['id']}")
    failed(found, 404, "SCAIQUEUE_TRUST_NOT_FOUND")


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"from": "nowhere"}, "from"),
        ({"from": "{there}"}, "from"),
        ({"to": "{here}"}, "to"),
        ({"allow": ["nothing"]}, "allow[0]"),
        ({"allow": ["_dead_letter"]}, "allow[0]"),
        ({"filter": {"body": 1}}, "filter.body"),
    ],
)
async def test_trusts_that_make_no_sense(border: Border, fields: dict[str, Any], field: str) -> None:
    body: dict[str, Any] = {"from": border.here_id}
    for name, value in fields.items():
        text = value.format(here=border.here_id, there=border.there_id) if isinstance(value, str) else value
        body[name] = text
    error = failed(await border.api.http.post(border.there + "/trusts", json=body), 422, "VALIDATION_ERROR")
    assert field in [detail["field"] for detail in error["details"]]
