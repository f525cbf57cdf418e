"""API processes that leave the rows to a process of its own."""

from __future__ import annotations

from tests.eventually import eventually
from tests.faults.conftest import ApiProcess, PersisterProcess, Queue, code_of, open_queue
from tests.servers import RedisServer


async def _alarmed(queue: Queue) -> bool:
    return "persister" in (await queue.http.get(queue.url + "/readyz")).json()["alarms"]


async def test_committed_publishes_need_a_process_that_writes_rows(
    redis_url: str, redis_server: RedisServer, sqlite_url: str
) -> None:
    servers = {"redis_url": redis_url, "database_url": sqlite_url}
    with ApiProcess(**servers, persist="false", commit_timeout_s="1") as api:
        async with open_queue(api.url) as queue:
            assert await _alarmed(queue)
            await queue.make()
            assert (await queue.publish(1, durability="indexed")).status_code == 201
            waited = await queue.publish(2, idempotency_key="k")
            assert (waited.status_code, code_of(waited)) == (503, "SCAIQUEUE_UNAVAILABLE")
            with PersisterProcess(**servers):

                async def carried() -> bool:
                    return not await _alarmed(queue)

                await eventually(carried)
                assert (await queue.publish(3)).status_code == 201
                again = await queue.publish(2, idempotency_key="k")
                assert again.status_code in (200, 201)
                held = await queue.claim(10)
                assert sorted(message["body"] for message in held) == [1, 2, 3]
                for message in held:
                    assert (await queue.complete(message)).status_code == 200

            async def alarmed() -> bool:
                return await _alarmed(queue)

            await eventually(alarmed)
