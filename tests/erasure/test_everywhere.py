"""A person's text, planted in everything that messages pass through, is nowhere after an erasure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

import httpx
import msgspec
import pytest
from redis.asyncio import Redis
from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncEngine
from uuid_utils import uuid7

from scaiqueue.erasure.job import Cursor
from scaiqueue.erasure.subject import Subject
from scaiqueue.moments import now_ms
from scaiqueue.rows import erasures, integrity, retention
from scaiqueue.rows.engine import open_engine
from scaiqueue.rows.erasures import ErasureRow
from scaiqueue.rows.integrity import Noted
from scaiqueue.rows.tables import messages, quarantine
from tests.api.conftest import BASE, FIRST_KEY, Api, ApiServer, created, failed
from tests.erasure.traces import traces
from tests.eventually import eventually
from tests.servers import RedisServer

ADA, BOB = "ada-lovelace-1815", "bob-builder-1998"


class Site(NamedTuple):
    api: Api
    engine: AsyncEngine
    redis: Redis

    async def traces(self, text: str) -> list[str]:
        return await traces(self.redis, self.engine, text)

    async def erase(self, **body: Any) -> dict[str, Any]:
        answer = await self.api.http.post("/gdpr/erasures", json=body)
        assert answer.status_code == 202, answer.text
        job: dict[str, Any] = answer.json()["data"]

        async def ended() -> bool:
            nonlocal job
            job = (await self.api.http.get(f"/gdpr/erasures/{job['id']}")).json()["data"]
            return bool(job["state"] != "running")

        await eventually(ended)
        return job


@pytest.fixture
async def site(redis: Redis, redis_server: RedisServer, database_url: str) -> AsyncIterator[Site]:
    settings = {"redis_url": redis_server.url, "api_key": FIRST_KEY, "shards": "2"}
    with ApiServer(**settings, database_url=database_url) as server:
        engine = open_engine(database_url)
        headers = {"Authorization": f"Bearer {FIRST_KEY}"}
        async with httpx.AsyncClient(base_url=server.url + BASE, headers=headers, timeout=30) as client:
            yield Site(Api(client, server, redis_server), engine, redis)
        await engine.dispose()


class Planted(NamedTuple):
    """`ids` of messages by what became of them; of `copies` for subscriptions likewise, and `published` is
    what they are copies of."""

    scope: dict[str, Any]
    messages: str
    ids: dict[str, str]
    held: dict[str, Any]
    copies: dict[str, str]

    @property
    def count(self) -> int:
        return len(self.ids) + len(self.copies)


async def _plant(site: Site, text: str) -> Planted:
    """Messages in every state, each with the text wherever one can be given."""
    http = site.api.http
    scope = await site.api.scope()
    queue = await site.api.queue(scope, max_retries=1)
    path = f"/scopes/{scope['id']}/queues/{queue['id']}/messages"
    of_scope = f"/scopes/{scope['id']}/messages"
    ids: dict[str, str] = {}
    spec = {
        "sections": [
            {"type": "context", "title": f"For {text}", "content": text},
            {"type": "decision", "field": "ok", "options": ["yes", "no"]},
        ]
    }

    async def publish(name: str, **fields: Any) -> str:
        body = {
            "type": "letter.send",
            "body": {"name": text, "n": 7, "more": [text, True]},
            "labels": {"customer": text},
            "source": {"type": "crm", "id": text},
            "correlation_id": text,
            "causation_id": text,
            "idempotency_key": f"{text}-{name}",
            **fields,
        }
        ids[name] = created(await http.post(path, json=body))["id"]
        return ids[name]

    async def claim() -> dict[str, Any]:
        (message,) = (await http.post(f"{path}/claim", json={"consumer_id": "w"})).json()["data"]
        found: dict[str, Any] = message
        return found

    async def settle(verb: str, message: dict[str, Any], **fields: Any) -> None:
        body = {"claim_token": message["claim_token"], **fields}
        answer = await http.post(f"{of_scope}/{message['id']}/{verb}", json=body)
        assert answer.status_code == 200, answer.text

    for name in ("completed", "archived"):
        await publish(name)
        await settle("complete", await claim(), response={"to": text})
    await publish("dead")
    await settle("fail", await claim(), reason=f"no such person: {text}", retryable=False)
    await publish("retried")
    await settle("fail", await claim(), reason=f"again for {text}", retry_after_s=3600)
    await publish("held")
    held = await claim()
    await publish("pending")
    await publish("scheduled", delay_s=3600)
    await publish("limited", ttl_seconds=3600)
    await publish("waiting", hitl_spec=spec)
    decided = await publish("decided", hitl_spec=spec)
    answer = await http.post(
        f"{of_scope}/{decided}/decision", json={"decision": "yes", "note": text, "reviewer": text}
    )
    assert answer.status_code == 200, answer.text
    await publish("text", body=b64encode(text.encode()).decode(), content_type="text/plain")
    copies = await _broadcast(site, scope, text)
    redrive = {"filter": {"source_id": text}, "dry_run": True}
    assert (await http.post(f"/scopes/{scope['id']}/dead-letter/redrive", json=redrive)).status_code == 202

    opened = {
        "queue": queue["slug"],
        "type": "letter.part",
        "source": {"type": "crm", "id": text},
        "labels": {"customer": text},
    }
    stream = created(await http.post(f"/scopes/{scope['id']}/streams", json=opened))
    chunk = {"seq": 0, "data": f"Dear {text}"}
    answer = await http.post(f"/scopes/{scope['id']}/streams/{stream['id']}/chunks", json=chunk)
    assert answer.status_code == 200, answer.text
    await http.get(of_scope)  # waits until the rows are there
    archived = [ids["archived"]]
    await eventually(lambda: _moved(site.engine, archived))
    noted = Noted(
        id=str(uuid7()), shard=0, tenant_id="default", scope_id=scope["id"], kind="row_differs", queue="q",
        subject=ids["pending"], detail=text, found_at=now_ms(), seen_at=now_ms(),
    )  # fmt: skip
    await integrity.note(site.engine, [noted])
    async with site.engine.begin() as conn:
        refused = {"record": b"", "envelope": text.encode(), "error": text, "epoch": 1, "n": 1, "at": 1}
        await conn.execute(
            insert(quarantine).values(scope_id=scope["id"], message_id=ids["pending"], **refused)
        )
    return Planted(scope, path, ids, held, copies)


async def _broadcast(site: Site, scope: dict[str, Any], text: str) -> dict[str, str]:
    """A message with two copies, of which one has been completed."""
    http, base = site.api.http, f"/scopes/{scope['id']}"
    news = await site.api.queue(scope, consumer_mode="broadcast")
    subscriptions = f"{base}/queues/{news['slug']}/subscriptions"
    for name in ("done", "slow"):
        created(await http.post(subscriptions, json={"name": name, "dedup_window_s": 3600}))
    body = {
        "type": "letter.news",
        "body": {"name": text, "n": 7, "more": [text, True]},
        "labels": {"customer": text},
        "source": {"type": "crm", "id": text},
        "correlation_id": text,
        "idempotency_key": f"{text}-news",
    }
    published = created(await http.post(f"{base}/queues/{news['slug']}/messages", json=body))
    (done,) = (await http.post(f"{subscriptions}/done/claim")).json()["data"]
    answer = await http.post(f"{base}/messages/{done['id']}/complete", json={"response": {"to": text}})
    assert answer.status_code == 200, answer.text
    slow = {"queue": f"{news['slug']}.slow"}
    (waiting,) = (await http.get(f"{base}/messages", params=slow)).json()["data"]
    return {"published": published["id"], "done": done["id"], "slow": waiting["id"]}


async def _moved(engine: AsyncEngine, ids: list[str]) -> bool:
    return await retention.move_to_archive(engine, ids, retention.TERMINAL, now_ms() + 1) == 1


async def test_nothing_is_left_of_who_was_erased_or_redacted(site: Site) -> None:
    ada, bob = await _plant(site, ADA), await _plant(site, BOB)
    before = await site.traces(ADA)
    for name in (
        "messages.body",
        "messages.origin",
        "message_archive.header",
        "events.transitions",
        "quarantine.error",
        "integrity.detail",
        "jobs.parameters",
        "streams.template",
        "stream_chunks.data",
    ):
        assert f"mod_scaiqueue_{name}" in before
    assert {key.rpartition(":")[2] for key in before if key.startswith("sq:")} >= {
        "body",
        "shared",
        "journal",
        "state",
    }

    tried = await site.erase(subject={"source_id": ADA}, dry_run=True)
    counts = tried["counts"]
    assert (counts["found"], counts["messages"], counts["message_archive"]) == (ada.count, 13, 1)
    assert (counts["idempotency"], counts["quarantine"], counts["integrity"], counts["jobs"]) == (14, 1, 1, 1)
    assert counts["events"] > 0
    assert 0 < counts["index"] <= 13
    assert set(await site.traces(ADA)) >= {name for name in before if name.startswith("mod_")}

    done = await site.erase(subject={"source_id": ADA})
    assert (done["state"], done["by"]) == ("completed", ["source_id"])
    assert done["counts"]["found"] == ada.count
    assert await site.traces(ADA) == []
    by_body = await site.erase(subject={"body": {"more.0": BOB, "n": 7}}, dry_run=True)
    assert by_body["counts"]["found"] == bob.count - 1  # one is no JSON
    done = await site.erase(subject={"labels": {"customer": BOB}}, scope=bob.scope["slug"], mode="redact")
    assert done["counts"]["found"] == bob.count
    assert await site.traces(BOB) == []

    await _check_tombstones(site, ada)
    await _check_redacted(site, bob)
    for each in (ada, bob):
        # The envelope that copies share goes with the last of them, as it would have gone.
        await eventually(lambda of=each: _unshared(site, of.scope))
    again = await site.erase(subject={"source_id": ADA})
    assert again["counts"]["found"] == 0


async def _unshared(site: Site, scope: dict[str, Any]) -> bool:
    root = f"sq:{{{scope['shard']}}}:default:{scope['id']}"
    return not await site.redis.exists(f"{root}:shared", f"{root}:shares")


async def _check_tombstones(site: Site, of: Planted) -> None:
    http, base = site.api.http, f"/scopes/{of.scope['id']}/messages"
    states = {}
    for name, message_id in {**of.ids, **of.copies}.items():
        message = (await http.get(f"{base}/{message_id}")).json()["data"]
        states[name] = message["state"]
        assert message["message_type"] == ("letter.news" if name in of.copies else "letter.send")
        empty = (
            "body",
            "source_id",
            "correlation_id",
            "response",
            "failure_reason",
            "hitl_spec",
            "claimed_by",
        )
        assert [message[field] for field in empty] == [None] * len(empty)
        assert message["labels"] == {}
        history = (await http.get(f"{base}/{message_id}/history")).json()["data"]["transitions"]
        assert history[0]["event"] == "published"
    ended = ("completed", "archived", "decided", "published", "done")
    assert states == {name: "completed" if name in ended else "cancelled" for name in states}
    late = {"claim_token": of.held["claim_token"]}
    answer = await http.post(f"{base}/{of.held['id']}/complete", json=late)
    assert answer.json()["error"]["code"] in ("SCAIQUEUE_CLAIM_LOST", "SCAIQUEUE_INVALID_STATE")
    assert (await http.post(f"{of.messages}/claim")).json()["data"] == []


async def _check_redacted(site: Site, of: Planted) -> None:
    """They go on as they were."""
    http, base = site.api.http, f"/scopes/{of.scope['id']}/messages"
    taken = (await http.post(f"{of.messages}/claim", json={"batch_size": 10})).json()["data"]
    assert {message["id"] for message in taken} == {of.ids[name] for name in ("pending", "limited", "text")}
    shown = {message["id"]: message for message in taken}
    pending = shown[of.ids["pending"]]
    assert pending["body"] == {"name": "[redacted]", "n": 0, "more": ["[redacted]", True]}
    assert (pending["labels"], pending["source_id"]) == ({"customer": "[redacted]"}, "[redacted]")
    token = {"claim_token": of.held["claim_token"]}
    assert (await http.post(f"{base}/{of.held['id']}/complete", json=token)).status_code == 200
    decision = await http.post(f"{base}/{of.ids['waiting']}/decision", json={"decision": "no"})
    assert decision.status_code == 200, decision.text
    dead = (await http.get(f"{base}/{of.ids['dead']}")).json()["data"]
    assert (dead["failure_reason"], dead["origin"]["reason"]) == ("[redacted]", "erased")
    completed = (await http.get(f"{base}/{of.ids['completed']}")).json()["data"]
    assert completed["response"] == {"to": "[redacted]"}
    slow = (await http.get(f"{base}/{of.copies['slow']}")).json()["data"]
    (copy,) = (await http.post(f"/scopes/{of.scope['id']}/queues/{slow['queue']}/messages/claim")).json()[
        "data"
    ]
    assert (copy["id"], copy["parent_id"]) == (of.copies["slow"], of.copies["published"])
    assert copy["body"] == {"name": "[redacted]", "n": 0, "more": ["[redacted]", True]}
    assert (copy["labels"], copy["source_id"]) == ({"customer": "[redacted]"}, "[redacted]")
    assert (await http.post(f"{base}/{copy['id']}/complete")).status_code == 200


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_an_erasure_that_died_goes_on_where_it_was(site: Site) -> None:
    ada = await _plant(site, ADA)
    half = [ada.ids["dead"], ada.copies["published"]]
    site.api.server.kill()
    async with site.engine.begin() as conn:
        # As after a crash in the middle of a step: no search finds these any more, nor the copies.
        nobody = {"source_id": "", "header": '{"type":"letter.send"}'}
        await conn.execute(
            update(messages).where(messages.c.id.in_([*half, *ada.copies.values()])).values(**nobody)
        )
    await erasures.create(
        site.engine,
        ErasureRow(
            id=str(uuid7()),
            tenant_id="default",
            scope_id=ada.scope["id"],
            mode="erase",
            dry_run=False,
            kinds='["source_id"]',
            subject=msgspec.json.encode(Subject(source_id=ADA)).decode(),
            state="running",
            counts="{}",
            cursor=msgspec.json.encode(Cursor(scope_id=ada.scope["id"], under_way=half)).decode(),
            cancel_requested=False,
            actor="key",
            created_at=1,
            updated_at=1,
        ),
    )
    site.api.server.start()

    async def ended() -> bool:
        (row,) = await erasures.page(site.engine, "default", "", 10)
        return row.state == "completed"

    await eventually(ended)
    assert await site.traces(ADA) == []


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
async def test_a_copy_that_a_rule_changed_keeps_its_own_form(site: Site) -> None:
    http, scope = site.api.http, await site.api.scope()
    base, queue = f"/scopes/{scope['id']}", await site.api.queue(scope, consumer_mode="broadcast")
    subscriptions = f"{base}/queues/{queue['slug']}/subscriptions"
    for name in ("a", "b"):
        created(await http.post(subscriptions, json={"name": name}))
    rule = {
        "name": "mark",
        "queue": f"{queue['slug']}.a",
        "trigger": "message_failed",
        "then": {"transform": {"labels": {"again": ADA}}},
    }
    created(await http.post(f"{base}/routing-rules", json=rule))
    body = {"type": "t", "body": {"n": 1}, "source": {"type": "crm", "id": ADA}, "labels": {"customer": ADA}}
    published = created(await http.post(f"{base}/queues/{queue['slug']}/messages", json=body))
    (failing,) = (await http.post(f"{subscriptions}/a/claim")).json()["data"]
    later = {"reason": ADA, "retry_after_s": 0.05}
    assert (await http.post(f"{base}/messages/{failing['id']}/fail", json=later)).status_code == 200

    done = await site.erase(subject={"source_id": ADA}, mode="redact")
    assert done["counts"]["found"] == 3
    rules = ["mod_scaiqueue_routing_rules.definition", f"sq:{{{scope['shard']}}}:default:{scope['id']}:rules"]
    assert await site.traces(ADA) == rules
    common = {"customer": "[redacted]"}
    for name, labels in (("a", {**common, "again": "[redacted]"}), ("b", common)):
        claim = await http.post(f"{subscriptions}/{name}/claim", json={"wait_s": 5})
        (copy,) = claim.json()["data"]
        assert (copy["labels"], copy["body"]) == (labels, {"n": 0})
        assert copy["parent_id"] == published["id"]
        assert (await http.post(f"{base}/messages/{copy['id']}/complete")).status_code == 200
        await eventually(lambda taken=copy["id"]: _forgotten(site, scope, taken))
        row = (await http.get(f"{base}/messages/{copy['id']}")).json()["data"]
        assert (row["labels"], row["body"], row["parent_id"]) == (labels, {"n": 0}, published["id"])
    assert await _unshared(site, scope)


async def _forgotten(site: Site, scope: dict[str, Any], message_id: str) -> bool:
    state = f"sq:{{{scope['shard']}}}:default:{scope['id']}:state"
    return not await site.redis.hexists(state, message_id)


async def test_bad_and_foreign_calls_are_refused(api: Api) -> None:
    for subject, field in (
        ({}, "subject"),
        ({"labels": {}}, "subject"),
        ({"body": {"a..b": 1}}, "subject.body.a..b"),
        ({"body": {"": 1}}, "subject.body."),
        ({"source_id": ""}, "subject.source_id"),
        ({"name": "Ada"}, "subject.name"),
        ({"body": {"a": []}}, None),
    ):
        error = failed(
            await api.http.post("/gdpr/erasures", json={"subject": subject}), 422, "VALIDATION_ERROR"
        )
        if field is not None:
            assert field in [detail["field"] for detail in error["details"]]
    body = {"subject": {"source_id": "x"}, "scope": "nowhere"}
    failed(await api.http.post("/gdpr/erasures", json=body), 404, "SCAIQUEUE_SCOPE_NOT_FOUND")
    missing = f"/gdpr/erasures/{uuid7()}"
    failed(await api.http.get(missing), 404, "SCAIQUEUE_ERASURE_NOT_FOUND")
    failed(await api.http.post(f"{missing}/cancel"), 404, "SCAIQUEUE_ERASURE_NOT_FOUND")

    scope, other = await api.scope(), await api.scope()
    limits = {"name": "k", "permissions": ["scaiqueue:manage"], "scopes": [scope["id"]]}
    key = created(await api.http.post("/api-keys", json=limits))
    everywhere = {"subject": {"source_id": "x"}}
    whole = (await api.http.post("/gdpr/erasures", json=everywhere)).json()["data"]
    assert whole["id"] in (await api.http.get("/gdpr/erasures")).text
    async with api.with_key(key["key"]) as client:
        denied = 403, "AUTHZ_PERMISSION_DENIED"
        failed(await client.post("/gdpr/erasures", json=everywhere), *denied)
        failed(await client.post("/gdpr/erasures", json={**everywhere, "scope": other["id"]}), *denied)
        failed(await client.get(f"/gdpr/erasures/{whole['id']}"), *denied)
        failed(await client.get("/gdpr/erasures"), *denied)
        failed(await client.post("/gdpr/erasures", json={**everywhere, "scope": scope["id"]}), *denied)
    one = (await api.http.post("/gdpr/erasures", json={**everywhere, "scope": scope["id"]})).json()["data"]
    assert one["scope_id"] == scope["id"]
