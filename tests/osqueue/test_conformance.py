"""What osqueue's protocol promises, over every transport."""

from __future__ import annotations

import asyncio
import time
from typing import Any
from uuid import UUID, uuid4

import pytest

from tests.eventually import eventually
from tests.osqueue.clients import JobClient, Refused
from tests.osqueue.conftest import TRANSPORTS, Tenant

# Of a lost lease over each transport: the tag or Connect's code.
LOST = ("SCAIQUEUE_CLAIM_LOST", "SCAIQUEUE_INVALID_STATE", "aborted")
PAYLOADS = [{"to": "ada@example.org", "n": [1, 2.5, None]}, [], "text: \u00fc \U0001f600", 0, None, True]


async def refused(answer: Any) -> Refused:
    with pytest.raises(Refused) as caught:
        await answer
    return caught.value


async def test_a_job_s_life(client: JobClient) -> None:
    assert await client.claim("w1") == {}
    empty = await client.stats()
    assert empty.pop("brokerAddress").startswith("127.0.0.1:")
    assert empty == {"total": 0, "unclaimed": 0, "inProgress": 0, "completedTotal": 0}

    before = int(time.time() * 1000)
    job = await client.submit({"to": "ada"}, type="email:send", maxAttempts=7)
    assert str(UUID(job)) == job
    (listed,) = (await client.jobs())["jobs"]
    assert abs(listed.pop("createdAt") - before) < 60_000
    assert listed == {
        "id": job, "status": "unclaimed", "payload": {"to": "ada"}, "type": "email:send", "attempts": 0,
        "maxAttempts": 7, "heartbeat": 0,
    }  # fmt: skip

    assert await client.claim("w1") == {"jobId": job, "payload": {"to": "ada"}, "type": "email:send"}
    assert await client.claim("w2") == {}
    listed = await eventually(lambda: _in_progress(client))
    assert (listed["workerId"], listed["attempts"]) == ("w1", 1)
    assert abs(listed["heartbeat"] - before) < 60_000
    counts = await client.stats()
    assert (counts["total"], counts["unclaimed"], counts["inProgress"]) == (1, 0, 1)

    await client.heartbeat(job, "w1")
    await client.complete(job, "w1")
    listed_after = await eventually(lambda: _completed(client, 1))
    assert (listed_after["total"], listed_after["jobs"]) == (0, [])
    # Once its row has it, the index forgets it: the same answers come from there.
    await client.complete(job, "w1")
    assert (await refused(client.heartbeat(job, "w1"))).code in LOST


async def _in_progress(client: JobClient) -> dict[str, Any]:
    """The list reads rows, which follow."""
    (listed,) = (await client.jobs())["jobs"]
    assert listed["status"] == "in_progress"
    return dict(listed)


async def _completed(client: JobClient, number: int) -> dict[str, Any]:
    found = await client.jobs()
    assert found["completedTotal"] == number
    return found


async def test_any_payload_comes_back_as_it_went(client: JobClient) -> None:
    for payload in PAYLOADS:
        job = await client.submit(payload)
        assert await client.claim("w") == {"jobId": job, "payload": payload}
        await client.complete(job, "w")


async def test_claims_go_by_submission_and_type(client: JobClient) -> None:
    types: list[Any] = ["b", "a", None, "c:d", "a", "untyped", "b", "C D", "c-d"]
    jobs = [await client.submit(at, **({"type": kind} if kind else {})) for at, kind in enumerate(types)]

    async def taken(*given: str) -> int | None:
        found = await client.claim("w", list(given) or None)
        if found:
            assert found["jobId"] == jobs[found["payload"]]
            assert found.get("type") == types[found["payload"]]
        return found.get("payload")

    assert await taken("nothing of it") is None
    assert await taken("a") == 1
    assert await taken("c:d", "b", "nothing of it") == 0
    assert [await taken("untyped"), await taken("untyped")] == [5, None]
    assert [await taken() for _ in range(4)] == [2, 3, 4, 6]
    assert [await taken("c-d", "C D") for _ in range(3)] == [7, 8, None]
    assert await taken() is None


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_lost_lease_returns_to_its_place_and_is_told(transport: str, tenant: Tenant) -> None:
    async with tenant.client(transport) as client, tenant.api() as api:
        first = await client.submit(1, type="slow", maxAttempts=2)
        await shorten_leases(api, "slow")
        second = await client.submit(2, type="slow", maxAttempts=100)
        assert (await client.claim("w1"))["jobId"] == first
        again = await eventually(lambda: _claimed(client, "w2", first))
        assert again["payload"] == 1
        for call in (client.heartbeat(first, "w1"), client.complete(first, "w1")):
            error = await refused(call)
            assert error.code in LOST
            assert error.status in (0, 409)

        # Its second attempt was the last one: it is in the dead letter, and nobody gets it any more.
        letters = await eventually(lambda: _dead_letters(api, client))
        assert [(one["id"], one["origin"]["queue"]) for one in letters] == [(first, "slow")]
        error = await refused(client.complete(first, "w2"))
        assert error.code in LOST
        assert (await eventually(lambda: _claimed(client, "w4", second)))["payload"] == 2


async def shorten_leases(api: Any, queue: str) -> None:
    answer = await api.patch(f"/queues/{queue}", json={"visibility_timeout_s": 1})
    assert answer.status_code == 200, answer.text


async def _claimed(client: JobClient, worker: str, job: str) -> dict[str, Any]:
    found = await client.claim(worker)
    assert found.get("jobId") == job
    return found


async def _dead_letters(api: Any, client: JobClient) -> list[dict[str, Any]]:
    # No agent runs here: what a lease's end brings happens at the next claim.
    await client.claim("w3")
    found: list[dict[str, Any]] = (await api.get("/messages?queue=_dead_letter")).json()["data"]
    return found


async def test_heartbeats_keep_a_lease(client: JobClient, tenant: Tenant) -> None:
    job = await client.submit({}, type="long")
    async with tenant.api() as api:
        await shorten_leases(api, "long")
    assert (await client.claim("w1"))["jobId"] == job
    for _ in range(4):
        await asyncio.sleep(0.4)
        await client.heartbeat(job, "w1")
    assert await client.claim("w2") == {}
    await client.complete(job, "w1")


async def test_completing_again_is_answered_alike(client: JobClient) -> None:
    job = await client.submit({})
    await client.claim("w1")
    await client.complete(job, "w1")
    await client.complete(job, "w1")
    other = await refused(client.complete(job, "w2"))
    assert (other.code in LOST, other.status in (0, 409)) == (True, True)


async def test_what_is_not_held_is_refused(client: JobClient) -> None:
    job = await client.submit({})
    for call in (client.heartbeat(job, "w1"), client.complete(job, "w1")):
        error = await refused(call)
        assert error.code in LOST
    for unknown in (str(uuid4()), "no-id"):
        error = await refused(client.complete(unknown, "w1"))
        assert error.code in ("SCAIQUEUE_MESSAGE_NOT_FOUND", "not_found")
        assert error.status in (0, 404)


async def test_what_is_not_valid_is_refused(client: JobClient) -> None:
    wrong: list[tuple[Any, str]] = [
        (client.submit({}, maxAttempts=0), "maxAttempts"),
        (client.submit({}, maxAttempts=101), "maxAttempts"),
        (client.submit({}, type="t" * 257), "type"),
        (client.claim(""), "workerId"),
        (client.claim("w" * 129), "workerId"),
        (client.heartbeat(str(uuid4()), ""), "workerId"),
    ]
    for call, field in wrong:
        error = await refused(call)
        assert error.code in ("VALIDATION_ERROR", "invalid_argument")
        assert field in error.message
        assert error.status in (0, 400)
    assert (await client.stats())["total"] == 0


async def test_every_worker_gets_another_job(client: JobClient) -> None:
    jobs = [await client.submit(number, type=f"kind-{number % 3}") for number in range(30)]
    claims = await asyncio.gather(*(client.claim(f"w{number}") for number in range(40)))
    assert sorted(claim["jobId"] for claim in claims if claim) == sorted(jobs)
    await asyncio.gather(
        *(client.complete(claim["jobId"], f"w{n}") for n, claim in enumerate(claims) if claim)
    )
    assert (await client.stats())["total"] == 0


async def test_the_queue_s_answers_are_the_same_as_the_api_s(client: JobClient, tenant: Tenant) -> None:
    async with tenant.api() as api:
        job = await client.submit({"order": 1}, type="order")
        message = (await api.get(f"/messages/{job}")).json()["data"]
        assert (message["queue"], message["message_type"], message["body"]) == (
            "order",
            "order",
            {"order": 1},
        )
        queue = (await api.get("/queues/order")).json()["data"]
        assert (queue["max_retries"], queue["visibility_timeout_s"]) == (3, 30)
        # And the other way: what is published over HTTP is a job.
        text = {"type": "note", "content_type": "text/plain", "body": "aGk="}
        other = (await api.post("/queues/order/messages", json=text)).json()["data"]["id"]
        assert (await client.claim("w"))["jobId"] == job
        assert await client.claim("w") == {"jobId": other, "payload": "aGk=", "type": "note"}
        await api.post("/queues/order/pause")
        error = await refused(client.claim("w"))
        assert error.code in ("SCAIQUEUE_QUEUE_PAUSED", "aborted")
        error = await refused(client.submit({}, type="order"))
        assert error.code in ("SCAIQUEUE_QUEUE_PAUSED", "aborted")
        assert (error.message, error.status in (0, 409)) == ("The queue is paused.", True)
        await api.post("/queues/order/resume")
        await api.post("/pause")
        error = await refused(client.submit({}, type="order"))
        assert error.code in ("SCAIQUEUE_SCOPE_PAUSED", "aborted")
        await api.post("/resume")
        assert (await api.patch("/queues/order", json={"max_depth": 1})).status_code == 200
        await client.submit({}, type="order")
        error = await refused(client.submit({}, type="order"))
        assert error.code in ("SCAIQUEUE_QUEUE_FULL", "resource_exhausted")
        assert error.status in (0, 429)


async def test_keys_are_asked_for_what_they_may(tenant: Tenant) -> None:
    viewer, publisher = await tenant.key("view"), await tenant.key("publish")
    for transport in TRANSPORTS:
        async with tenant.client(transport, viewer) as client:
            await client.stats()
            for call in (client.submit({}), client.claim("w"), client.complete(str(uuid4()), "w")):
                error = await refused(call)
                assert error.code in ("AUTHZ_PERMISSION_DENIED", "permission_denied")
                assert error.status in (0, 403)
        async with tenant.client(transport, publisher) as client:
            await client.submit({})
            assert (await refused(client.jobs())).code in ("AUTHZ_PERMISSION_DENIED", "permission_denied")
        async with tenant.client(transport, "sgk_nobody_knows_this_key") as client:
            error = await refused(client.claim("w"))
            assert error.code in ("AUTH_TOKEN_INVALID", "unauthenticated")
            assert error.status in (0, 401)


async def test_a_key_limited_to_queues_sees_no_others(tenant: Tenant) -> None:
    async with tenant.client("rest") as client, tenant.api() as api:
        mine, others = await client.submit(1, type="mine"), await client.submit(0, type="theirs")
        queue = (await api.get("/queues/mine")).json()["data"]["id"]
        assert (await client.claim("w", ["theirs"]))["jobId"] == others
    async with tenant.client("rest", await tenant.key(queues=[queue])) as limited:
        assert [job["id"] for job in (await limited.jobs())["jobs"]] == [mine]
        assert (await limited.claim("w"))["jobId"] == mine
        assert await limited.claim("w") == {}
        for call in (
            limited.claim("w", ["theirs"]), limited.complete(others, "w"), limited.submit(1, type="theirs"),
            limited.submit(1, type="new"),
        ):  # fmt: skip
            assert (await refused(call)).code == "AUTHZ_PERMISSION_DENIED"
