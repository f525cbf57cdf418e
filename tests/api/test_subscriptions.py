"""Subscriptions over HTTP: their life, copies, what is refused and why, and what rows say."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import httpx
import pytest

from tests.api.conftest import Api, created, failed
from tests.eventually import eventually


class News:
    """A scope with the broadcast queue `news`."""

    def __init__(self, api: Api, scope: dict[str, Any], queue: dict[str, Any]) -> None:
        self.api = api
        self.scope = scope
        self.queue = queue
        self.path = f"/scopes/{scope['id']}"
        self.subscriptions = f"{self.path}/queues/news/subscriptions"

    async def post(self, path: str, **body: Any) -> httpx.Response:
        return await self.api.http.post(f"{self.path}{path}", json=body)

    async def subscribe(self, name: str, **fields: Any) -> dict[str, Any]:
        return created(await self.api.http.post(self.subscriptions, json={"name": name, **fields}))

    async def refused(self, **fields: Any) -> list[str]:
        answer = await self.api.http.post(self.subscriptions, json={"name": "x", **fields})
        return [detail["field"] for detail in failed(answer, 422, "VALIDATION_ERROR")["details"]]

    async def publish(self, body: Any = None, **fields: Any) -> dict[str, Any]:
        return created(await self.post("/queues/news/messages", type="t", body=body, **fields))

    async def claim(self, name: str, want: int = 10) -> list[dict[str, Any]]:
        answer = await self.api.http.post(f"{self.subscriptions}/{name}/claim", json={"batch_size": want})
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["data"]
        return found

    async def get(self, path: str, **params: Any) -> Any:
        answer = await self.api.http.get(f"{self.path}{path}", params=params)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    async def one(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = await self.get(f"/queues/news/subscriptions/{name}")
        return found


@pytest.fixture
async def news(api: Api) -> News:
    scope = await api.scope()
    return News(api, scope, await api.queue(scope, slug="news", consumer_mode="broadcast"))


async def test_each_has_its_copy_lease_and_end(news: News) -> None:
    await news.subscribe("mail")
    await news.subscribe("search")
    published = await news.publish({"n": 1}, labels={"a": "b"}, correlation_id="c")
    assert (published["state"], published["queue"]) == ("completed", "news")
    (mail,), (search,) = await news.claim("mail"), await news.claim("search")
    assert mail["id"] != search["id"]
    for copy, name in ((mail, "mail"), (search, "search")):
        assert (copy["body"], copy["labels"], copy["queue"]) == ({"n": 1}, {"a": "b"}, f"news.{name}")
        assert (copy["parent_id"], copy["causation_id"]) == (published["id"], published["id"])
        assert (copy["correlation_id"], copy["attempts"]) == ("c", 1)
    done = await news.post(f"/messages/{mail['id']}/complete", claim_token=mail["claim_token"])
    assert done.status_code == 200
    gone = await news.post(f"/messages/{search['id']}/fail", reason="no", retryable=False)
    assert gone.json()["data"]["queue"] == "_dead_letter"
    assert [m["state"] for m in await news.get("/messages", queue="news.mail")] == ["completed"]
    (dead,) = await news.get("/messages", queue="_dead_letter")
    assert (dead["id"], dead["body"], dead["origin"]["queue"]) == (search["id"], {"n": 1}, "news.search")
    assert dead["parent_id"] == published["id"]
    traced = await news.get("/audit/trace/c")
    assert [(step["event"], step["queue"]) for step in traced][:4] == [
        ("published", "news"),
        ("published", "news.mail"),
        ("published", "news.search"),
        ("broadcast", "news"),
    ]


async def test_a_copy_reads_the_same_before_and_after_its_row_alone_is_left(news: News) -> None:
    await news.subscribe("a")
    published = await news.publish({"n": 1}, idempotency_key="k")
    (copy,) = await news.claim("a")
    live = await news.get(f"/messages/{copy['id']}")
    await news.post(f"/messages/{copy['id']}/complete")

    async def forgotten() -> bool:
        state = f"sq:{{{news.scope['shard']}}}:default:{news.scope['id']}:state"
        with news.api.redis.client() as client:
            return client.hexists(state, copy["id"]) is False

    await eventually(forgotten)
    stored = await news.get(f"/messages/{copy['id']}")
    changes = {"state", "claimed_by", "visible_at", "completed_at", "updated_at"}
    assert {name for name in live if live[name] != stored[name]} <= changes
    assert (stored["body"], stored["parent_id"]) == ({"n": 1}, published["id"])
    (listed,) = await news.get("/messages", queue="news.a")
    assert listed == stored
    again = await news.post("/queues/news/messages", type="t", body={"n": 1}, idempotency_key="k")
    assert (again.status_code, again.headers["idempotent-replay"]) == (200, "true")
    assert again.json()["data"]["id"] == published["id"]
    history = (await news.get(f"/messages/{copy['id']}/history"))["transitions"]
    assert (history[0]["event"], history[0]["detail"]) == ("published", "copy")


async def test_earliest_gets_what_was_before_in_order_and_latest_does_not(news: News) -> None:
    await news.publish("other", labels={"kind": "x"})
    before = [await news.publish(n) for n in range(3)]
    late = await news.subscribe(
        "late", start="earliest", filter={"when": {"not": {"field": "labels.kind", "op": "exists"}}}
    )
    assert (late["state"], late["backfilled"]) == ("active", 3)
    await news.subscribe("new")
    after = await news.publish(3)
    claimed = await news.claim("late")
    assert [copy["parent_id"] for copy in claimed] == [m["id"] for m in [*before, after]]
    assert [copy["body"] for copy in claimed] == [0, 1, 2, 3]
    assert [copy["body"] for copy in await news.claim("new")] == [3]


async def test_a_claim_that_waits_hears_of_a_copy(news: News) -> None:
    held = await news.subscribe("a")
    path = f"{news.subscriptions}/{held['id']}/claim"
    waiting = asyncio.create_task(news.api.http.post(path, json={"wait_s": 15}))
    await news.publish(1)
    began = time.monotonic()
    assert [copy["body"] for copy in (await waiting).json()["data"]] == [1]
    assert time.monotonic() - began < 15


async def test_filters_and_their_change(news: News) -> None:
    await news.subscribe("some", filter={"types": ["t"], "labels": {"town": "ghent"}})
    await news.publish(1, labels={"town": "ghent"})
    await news.publish(2)
    path = f"{news.subscriptions}/some"
    changed = await news.api.http.patch(path, json={"filter": {"types": ["t"]}})
    assert changed.json()["data"]["filter"] == {"types": ["t"]}
    await news.publish(3)
    assert [copy["body"] for copy in await news.claim("some")] == [1, 3]


async def test_a_window_against_the_same_key(news: News) -> None:
    await news.subscribe("once", dedup_window_s=3600)
    first = await news.publish(1, idempotency_key="a/b")
    path = "/queues/news/subscriptions/once/dedup/a/b"
    (copy,) = await news.claim("once")
    assert copy["parent_id"] == first["id"]
    seen = await news.get(path)
    assert (seen["seen"], seen["message_id"], seen["state"]) == (True, copy["id"], "claimed")
    assert seen["expires_at"] is not None
    unseen = await news.get("/queues/news/subscriptions/once/dedup/other")
    assert unseen == {"key": "other", "seen": False, "message_id": None, "state": None, "expires_at": None}


async def test_depths_lag_and_stats_are_each_subscriptions_own(news: News) -> None:
    for name in ("slow", "quick"):
        await news.subscribe(name)
    for n in range(3):
        await news.publish(n)
    await news.claim("quick", 2)
    slow, quick = await news.get("/queues/news/subscriptions")
    assert (slow["name"], slow["depth_pending"], slow["depth_claimed"]) == ("slow", 3, 0)
    assert (quick["depth_pending"], quick["depth_claimed"]) == (1, 2)
    assert slow["oldest_age_s"] >= quick["oldest_age_s"] >= 0
    stats = await news.get(f"/queues/{slow['holds']}/stats")
    assert (stats["depth_pending"], sum(stats["per_minute"]["published"])) == (3, 3)
    assert [queue["slug"] for queue in await news.get("/queues")][-1] == "news"


async def test_a_batch_larger_than_a_call_may_write(news: News) -> None:
    for number in range(20):
        await news.subscribe(f"s{number}")
    messages = [{"type": "t", "body": n} for n in range(100)]
    answer = await news.post("/queues/news/messages/batch", messages=messages)
    assert {item["state"] for item in answer.json()["data"]} == {"completed"}
    assert [copy["body"] for copy in await news.claim("s19", 100)] == list(range(100))


async def test_settings_and_states_of_the_queue_hold_for_its_subscriptions(news: News) -> None:
    await news.subscribe("a")
    await news.publish(1)
    queue = f"{news.path}/queues/news"
    await news.api.http.patch(queue, json={"max_retries": 0})
    assert (await news.get("/queues/news.a"))["max_retries"] == 0
    await news.api.http.post(f"{queue}/pause")
    answer = await news.api.http.post(f"{news.subscriptions}/a/claim", json={})
    failed(answer, 409, "SCAIQUEUE_QUEUE_PAUSED")
    await news.api.http.post(f"{queue}/resume")
    assert [copy["body"] for copy in await news.claim("a")] == [1]


async def test_purge_takes_the_copies_of_all(news: News) -> None:
    for name in ("a", "b"):
        await news.subscribe(name)
    await news.publish(1)
    purged = await news.api.http.post(f"{news.path}/queues/news/purge")
    assert purged.json()["data"] == {"purged": 2, "more": False}
    assert (await news.claim("a"), await news.claim("b")) == ([], [])


async def test_a_subscription_goes_with_its_copies_and_nothing_else(news: News) -> None:
    for name in ("a", "b"):
        await news.subscribe(name)
    await news.publish({"n": 1})
    await news.publish({"n": 2})
    (copy,) = await news.claim("a", 1)
    await news.post(f"/messages/{copy['id']}/fail", reason="no", retryable=False)
    path = f"{news.subscriptions}/a"
    failed(await news.api.http.delete(path), 409, "SCAIQUEUE_NOT_EMPTY")
    gone = await news.api.http.delete(path, params={"force": "true"})
    assert gone.json()["data"]["deleted"] is True
    failed(await news.api.http.get(path), 404, "SCAIQUEUE_SUBSCRIPTION_NOT_FOUND")
    await news.publish({"n": 3})
    assert [copy["body"]["n"] for copy in await news.claim("b")] == [1, 2, 3]
    assert (await news.get(f"/messages/{copy['id']}"))["body"] == {"n": 1}
    again = await news.subscribe("a", start="earliest")
    assert again["backfilled"] == 3


async def test_a_queue_goes_with_its_subscriptions_and_leaves_the_dead_letter_whole(news: News) -> None:
    await news.subscribe("a")
    await news.publish({"n": 1})
    (copy,) = await news.claim("a", 1)
    await news.post(f"/messages/{copy['id']}/fail", reason="no", retryable=False)
    await news.publish({"n": 2})
    path = f"{news.path}/queues/news"
    failed(await news.api.http.delete(path), 409, "SCAIQUEUE_NOT_EMPTY")
    assert (await news.api.http.delete(path, params={"force": "true"})).status_code == 200
    failed(await news.api.http.get(f"{news.path}/queues/news.a"), 404, "SCAIQUEUE_QUEUE_NOT_FOUND")
    (dead,) = await news.get("/messages", queue="_dead_letter")
    assert (dead["id"], dead["body"]) == (copy["id"], {"n": 1})
    claimed = await news.post("/queues/_dead_letter/messages/claim")
    assert [message["body"] for message in claimed.json()["data"]] == [{"n": 1}]
    assert (await news.api.http.delete(news.path, params={"force": "true"})).status_code == 200
    pattern = f"sq:{{{news.scope['shard']}}}:default:{news.scope['id']}:*"
    with news.api.redis.client() as client:
        assert client.keys(pattern) == []


async def test_what_is_refused_and_why(news: News) -> None:
    await news.subscribe("a")
    taken = await news.api.http.post(news.subscriptions, json={"name": "a"})
    assert failed(taken, 409, "SLUG_CONFLICT")["details"][0]["field"] == "name"
    assert await news.refused(name="x" * 60) == ["name"]
    assert await news.refused(name="A") == ["name"]
    assert await news.refused(delivery="webhook") == ["delivery"]
    assert await news.refused(start="middle") == ["start"]
    assert await news.refused(filter={"when": {"field": "nothing", "op": "eq", "value": 1}}) == [
        "filter.when.field"
    ]
    two = {"all": [{"field": "type", "op": "eq", "value": each} for each in "ab"]}
    assert await news.refused(filter={"when": two}) == ["filter"]
    assert await news.refused(filter={"type": "t"}) == ["filter.type"]
    await news.api.queue(news.scope, slug="plain")
    plain = f"{news.path}/queues/plain"
    answer = await news.api.http.post(f"{plain}/subscriptions", json={"name": "a"})
    assert failed(answer, 422, "VALIDATION_ERROR")["details"][0]["field"] == "queue"
    for path in (f"{news.subscriptions}/nobody", f"{plain}/subscriptions/a"):
        failed(await news.api.http.get(path), 404, "SCAIQUEUE_SUBSCRIPTION_NOT_FOUND")
        failed(await news.api.http.post(f"{path}/claim", json={}), 404, "SCAIQUEUE_SUBSCRIPTION_NOT_FOUND")
    claim = await news.post("/queues/news/messages/claim")
    assert failed(claim, 422, "VALIDATION_ERROR")["details"][0]["field"] == "queue"
    into = await news.post("/queues/news.a/messages", type="t", body=1)
    failed(into, 403, "SCAIQUEUE_SYSTEM_QUEUE_READONLY")
    held = f"{news.path}/queues/news.a"
    failed(await news.api.http.patch(held, json={"max_depth": 1}), 403, "SCAIQUEUE_SYSTEM_QUEUE_READONLY")
    failed(await news.api.http.delete(held), 403, "SCAIQUEUE_SYSTEM_QUEUE_READONLY")
    for target in ("news", "news.a"):
        rule = {"name": "r", "trigger": "message_published", "then": {"route": {"queue": target}}}
        answer = await news.post("/routing-rules", **rule)
        assert failed(answer, 422, "SCAIQUEUE_INVALID_RULE")["details"][0]["field"] == "then.route.queue"
    bounded = {"slug": "z", "display_name": "Z", "consumer_mode": "broadcast", "max_depth": 5}
    answer = await news.post("/queues", **bounded)
    assert failed(answer, 422, "VALIDATION_ERROR")["details"][0]["field"] == "overflow_policy"
    answer = await news.api.http.patch(f"{news.path}/queues/news", json={"max_depth": 5})
    assert failed(answer, 422, "VALIDATION_ERROR")["details"][0]["field"] == "overflow_policy"
    change = await news.api.http.patch(f"{news.subscriptions}/a", json={"start": "earliest"})
    failed(change, 422, "VALIDATION_ERROR")


async def test_an_acl_of_the_queue_holds_for_its_subscriptions(news: News) -> None:
    http, scopes = news.api.http, [news.scope["id"]]
    await news.subscribe("a")
    await news.publish(1)
    await news.api.queue(news.scope, slug="other")
    other = created(await news.post("/queues/other/messages", type="t", body=2))
    permissions = ["scaiqueue:view", "scaiqueue:consume"]
    body = {"name": "k", "permissions": permissions, "scopes": scopes}
    key = created(await http.post("/api-keys", json=body))
    acl = {"deny": [{"principal": {"type": "api_key", "id": key["id"]}}]}
    failed(await http.put(f"{news.path}/queues/news.a/acl", json=acl), 403, "SCAIQUEUE_SYSTEM_QUEUE_READONLY")
    failed(await http.delete(f"{news.path}/queues/news.a/acl"), 403, "SCAIQUEUE_SYSTEM_QUEUE_READONLY")
    assert (await http.put(f"{news.path}/queues/news/acl", json=acl)).status_code == 200
    shown = await news.get("/queues/news.a/acl")
    assert (shown["queue_id"], shown["deny"][0]["principal"]["id"]) == (news.queue["id"], key["id"])
    (copy,) = await news.get("/messages", queue="news.a")
    denied = 403, "AUTHZ_PERMISSION_DENIED"
    async with news.api.with_key(key["key"]) as client:
        failed(await client.post(f"{news.subscriptions}/a/claim", json={"wait_s": 5}), *denied)
        failed(await client.post(f"{news.path}/queues/news.a/messages/claim"), *denied)
        queues = {"queues": ["other", "news.a"]}
        failed(await client.post(f"{news.path}/messages/claim", json=queues), *denied)
        failed(await client.get(f"{news.path}/messages/{copy['id']}"), *denied)
        failed(await client.get(f"{news.path}/messages", params={"queue": "news.a"}), *denied)
        listed = (await client.get(f"{news.path}/messages")).json()["data"]
        assert [message["id"] for message in listed] == [other["id"]]
        slugs = [queue["slug"] for queue in (await client.get(f"{news.path}/queues")).json()["data"]]
        assert "other" in slugs
        assert "news" not in slugs
    limited = {**body, "queues": ["news.a"]}
    error = failed(await http.post("/api-keys", json=limited), 422, "VALIDATION_ERROR")
    assert error["details"][0]["field"] == "queues[0]"


async def test_rules_of_other_scopes_send_nothing_to_subscribers(news: News) -> None:
    here = await news.api.scope()
    await news.subscribe("a")
    await news.api.queue(news.scope, slug="plain")
    trust = {"from": here["id"]}
    assert (await news.post("/trusts", **trust)).status_code == 201
    for target in ("news", "news.a"):
        then = {"route": {"scope": news.scope["slug"], "queue": target}}
        rule = {"name": "r", "trigger": "message_published", "then": then}
        answer = await news.api.http.post(f"/scopes/{here['id']}/routing-rules", json=rule)
        assert failed(answer, 422, "SCAIQUEUE_INVALID_RULE")["details"][0]["field"] == "then.route.queue"
        error = failed(await news.post("/trusts", **trust, allow=[target]), 422, "VALIDATION_ERROR")
        assert error["details"][0]["field"] == "allow[0]"
    assert "_outbound" not in (await news.api.http.get(f"/scopes/{here['id']}/queues")).text


async def test_a_key_limited_to_the_queue_may_use_its_subscriptions(news: News) -> None:
    await news.subscribe("a")
    await news.publish(1)
    await news.api.queue(news.scope, slug="other")
    for slug, allowed in (("news", True), ("other", False)):
        queue = await news.get(f"/queues/{slug}")
        permissions = ["scaiqueue:view", "scaiqueue:consume"]
        key = created(
            await news.api.http.post(
                "/api-keys",
                json={
                    "name": slug,
                    "permissions": permissions,
                    "scopes": [news.scope["id"]],
                    "queues": [queue["id"]],
                },
            )
        )
        async with news.api.with_key(key["key"]) as http:
            answer = await http.post(f"{news.subscriptions}/a/claim", json={})
            if not allowed:
                failed(answer, 403, "AUTHZ_PERMISSION_DENIED")
                continue
            (copy,) = answer.json()["data"]
            done = await http.post(f"{news.path}/messages/{copy['id']}/complete", json={})
            assert done.status_code == 200, done.text
            listed = await http.get(f"{news.path}/messages", params={"queue": "news.a"})
            assert [message["id"] for message in listed.json()["data"]] == [copy["id"]]
