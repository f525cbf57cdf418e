"""Redis killed, frozen or replaced under the API: the rows take over in the queues' order, and give back."""

from __future__ import annotations

import asyncio

from tests.api.conftest import Api, created, failed
from tests.eventually import eventually
from tests.fallback.conftest import bodies, ground, mode, open_api, reaches
from tests.servers import MariaDbServer, RedisServer

NO_WAIT = {"strategy": "fixed", "base_s": 0.01, "jitter": "none"}


async def test_killed_and_started_again(api: Api) -> None:
    here = await ground(api, backoff=NO_WAIT)
    await here.publish(1, 2, 3, 4)
    (first,) = await here.claim()
    await here.done("complete", first)
    (held,) = await here.claim()
    await eventually(lambda: here.in_rows("claimed"))
    api.redis.kill()
    await reaches(api, "fallback")
    assert (await api.http.get(api.server.url + "/readyz")).status_code == 200
    await here.publish(5, idempotency_key="five")
    again = await api.http.post(here.path, json={"type": "t", "body": 5, "idempotency_key": "five"})
    assert again.headers["idempotent-replay"] == "true"
    failed(await here.settle("complete", held), 409, "SCAIQUEUE_CLAIM_LOST")
    second, third = await here.claim(2)
    assert bodies([second, third]) == [2, 3], "a void lease returns its message to its place"
    assert second["attempts"] == 2
    await here.done("extend", second, visibility_timeout_s=60)
    await here.done("complete", second, response={"by": "rows"})
    await here.done("complete", second, response={"by": "rows"})
    await here.done("fail", third, reason="boom")

    async def retried() -> bool:
        found = await here.claim()
        for message in found:
            await here.done("release", message)
        return bodies(found) == [3]

    await eventually(retried)
    queue = (await api.http.get(here.path.removesuffix("/messages"))).json()["data"]
    assert (queue["depth_pending"], queue["depth_claimed"]) == (3, 0)
    cancelled = await api.http.post(f"{here.scope}/messages/{third['id']}/cancel")
    failed(cancelled, 503, "SCAIQUEUE_UNAVAILABLE")
    shown = (await api.http.get(f"{here.scope}/messages/{second['id']}")).json()["data"]
    assert (shown["state"], shown["response"]) == ("completed", {"by": "rows"})

    api.redis.start()
    await reaches(api, "redis")
    failed(await here.settle("complete", held), 409, "SCAIQUEUE_CLAIM_LOST")
    await here.publish(6)
    assert await here.drain() == [3, 4, 5, 6]
    again = await api.http.post(here.path, json={"type": "t", "body": 5, "idempotency_key": "five"})
    assert again.headers["idempotent-replay"] == "true"


async def test_frozen_and_resumed_with_a_journal_that_the_rows_had_not_read(
    own_redis: RedisServer, mariadb_server: MariaDbServer, mariadb_url: str
) -> None:
    """What Redis had acknowledged and the rows had not is added on return; what was done meanwhile stays."""
    async with open_api(own_redis, mariadb_url) as api:
        here = await ground(api)
        await here.publish(1, 2, 3)
        mariadb_server.pause()
        try:
            await here.publish(4, durability="indexed")
            one, two = await here.claim(2)
            await here.done("complete", one)
            await here.done("complete", two)
            own_redis.pause()
        finally:
            mariadb_server.resume()
        try:
            await reaches(api, "fallback")
            (again,) = await here.claim()
            assert again["body"] == 1, "its completion was in the journal alone"
            await here.done("complete", again, response={"by": "rows"})
            await here.publish(5)
        finally:
            own_redis.resume()
        await reaches(api, "redis")
        failed(await here.settle("complete", one), 409, "SCAIQUEUE_CLAIM_LOST")
        assert await here.drain() == [3, 4, 5], "2 was completed in Redis, and no one touched it since"
        shown = (await api.http.get(f"{here.scope}/messages/{one['id']}")).json()["data"]
        assert (shown["state"], shown["response"]) == ("completed", {"by": "rows"})


async def test_frozen_calls_end_and_leases_run_out(api: Api) -> None:
    here = await ground(api)
    await here.publish(1, 2)
    (held,) = await here.claim()
    api.redis.pause()
    try:
        shown = await api.http.get(f"{here.scope}/messages/{held['id']}")
        assert shown.status_code == 503, "what waits for a frozen Redis is told so"
        answers = await asyncio.gather(*(api.http.post(here.path + "/claim") for _ in range(20)))
        assert {answer.status_code for answer in answers} <= {200, 503}
        await reaches(api, "fallback")
        for answer in answers:
            for message in answer.json().get("data", []):  # by the rows already
                await here.done("release", message)
        (first,) = await here.claim(visibility_timeout_s=1)
        waiting = asyncio.create_task(here.claim(2, wait_s=10))
        found = bodies(await waiting) + bodies(await here.claim(1, wait_s=10))
        assert sorted(found) == [1, 2]
        failed(await here.settle("complete", first), 409, "SCAIQUEUE_CLAIM_LOST")
        polling = asyncio.create_task(here.claim(wait_s=10))
        await here.publish(3)
        assert bodies(await polling) == [3]
    finally:
        api.redis.resume()
    await reaches(api, "redis")
    assert sorted(await here.drain()) == [1, 2, 3], "leases of the rows are void, too"


async def test_each_queue_keeps_its_own_order(api: Api) -> None:
    here = await ground(api, ordering="priority")
    for score, body in ((100, "a"), (900, "b"), (100, "c"), (500, "d")):
        await here.publish(body, priority={"tier": "normal", "score": score})
    api.redis.kill()
    await reaches(api, "fallback")
    await here.publish("e", priority={"tier": "critical", "score": 0})
    await here.publish("f", priority={"tier": "normal", "score": 100})
    assert bodies(await here.claim(2)) == ["e", "b"]
    api.redis.start()
    await reaches(api, "redis")
    assert await here.drain() == ["e", "b", "d", "a", "c", "f"]


async def test_replaced_by_an_empty_redis(api: Api) -> None:
    here = await ground(api)
    await here.publish(1, 2, 3)
    api.redis.kill()
    await reaches(api, "fallback")
    (one,) = await here.claim()
    await here.done("complete", one)
    await here.publish(4)
    for part in api.redis.folder.glob("appendonlydir/*"):
        part.unlink()
    api.redis.start()
    await reaches(api, "redis")
    assert await here.drain() == [2, 3, 4]


async def test_processes_agree(own_redis: RedisServer, mariadb_url: str) -> None:
    async with open_api(own_redis, mariadb_url) as one, open_api(own_redis, mariadb_url) as other:
        here = await ground(one)
        there = here.by(other)
        ids = await here.publish(*range(40))
        own_redis.kill()
        await asyncio.gather(reaches(one, "fallback"), reaches(other, "fallback"))
        claims = await asyncio.gather(*(place.claim(2) for place in (here, there) * 10))
        given = [message["id"] for claimed in claims for message in claimed]
        assert sorted(given) == ids, "each message once"
        tokens = [tuple(map(int, m["claim_token"].split("."))) for claimed in claims for m in claimed]
        assert len(set(tokens)) == len(claims), "each claim has a token of its own"
        for place, claimed in zip((there, here) * 10, claims, strict=True):
            for message in claimed[:1]:
                await place.done("complete", message)
        own_redis.start()
        await asyncio.gather(reaches(one, "redis"), reaches(other, "redis"))
        left = await here.drain()
        assert sorted(left) == sorted(message["body"] for claimed in claims for message in claimed[1:])


async def test_an_api_starts_without_redis(own_redis: RedisServer, mariadb_url: str) -> None:
    async with open_api(own_redis, mariadb_url) as api:
        here = await ground(api)
        await here.publish(1)
    own_redis.kill()
    async with open_api(own_redis, mariadb_url) as api:
        here = here.by(api)
        await reaches(api, "fallback")
        await here.publish(2)
        own_redis.start()
        await reaches(api, "redis")
        assert await here.drain() == [1, 2]


async def test_both_servers_away(
    own_redis: RedisServer, mariadb_server: MariaDbServer, mariadb_url: str
) -> None:
    async with open_api(own_redis, mariadb_url) as api:
        here = await ground(api)
        await here.publish(1)
        mariadb_server.pause()
        own_redis.pause()
        try:
            for path in (here.path, here.path + "/claim"):
                answer = await api.http.post(path, json={"type": "t"} if path == here.path else {})
                failed(answer, 503, "SCAIQUEUE_UNAVAILABLE")
        finally:
            own_redis.resume()
            mariadb_server.resume()

        async def claimed() -> bool:
            answer = await api.http.post(here.path + "/claim")
            return answer.status_code == 200 and len(answer.json()["data"]) == 1

        await eventually(claimed)
        assert await mode(api) in ("redis", "leaving")


async def test_what_is_published_to_meet_rules_waits_for_redis(api: Api) -> None:
    here = await ground(api, backoff=NO_WAIT)
    rule = {"name": "big", "trigger": "message_published", "then": {"transform": {"type": "big"}}}
    rule["when"] = {"field": "body.n", "op": "gt", "value": 5}
    created(await api.http.post(f"{here.scope}/routing-rules", json=rule))
    await here.publish({"n": 6})
    api.redis.kill()
    await reaches(api, "fallback")
    failed(await api.http.post(here.path, json={"type": "t"}), 503, "SCAIQUEUE_UNAVAILABLE")
    (message,) = await here.claim()
    assert message["message_type"] == "big"
    await here.done("complete", message)
    api.redis.start()
    await reaches(api, "redis")
    await here.publish({"n": 7})
    (message,) = await here.claim()
    assert message["message_type"] == "big"
