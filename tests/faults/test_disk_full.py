"""A full disk under Redis' append-only file, and one under MariaDB."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.eventually import eventually
from tests.faults.conftest import ApiProcess, Queue, code_of, open_queue, small_disk
from tests.servers import MariaDbServer, RedisServer

BODY = "x" * 50_000


class Ballast:
    """What fills the disk besides the server, and is taken away to make room."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "ballast"

    def fill(self) -> None:
        with self.file.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(b"\0" * 4096)
            except OSError:
                return

    def remove(self) -> None:
        self.file.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    with small_disk(tmp_path / "disk", 96) as folder:
        yield folder


async def _until_refused(queue: Queue, *, durability: str) -> tuple[list[str], int, str]:
    """Publish until it is refused: ids of what was acknowledged, status and code of the refusal."""
    taken = []
    while True:
        answer = await queue.publish(BODY, durability=durability)
        if answer.status_code != 201:
            assert answer.json()["error"]["retryable"] is True
            return taken, answer.status_code, code_of(answer)
        taken.append(answer.json()["data"]["id"])


async def _all_claimable(queue: Queue, ids: list[str]) -> None:
    left = set(ids)

    async def drained() -> bool:
        for message in await queue.claim(50):
            assert (await queue.complete(message)).status_code == 200
            left.discard(message["id"])
        return not left

    await eventually(drained, timeout=60)


async def test_no_room_for_the_append_only_file(disk: Path, tmp_path: Path) -> None:
    with RedisServer(appendonly="yes", dir=str(disk)) as redis:
        rows = f"sqlite+aiosqlite:///{tmp_path / 'rows.db'}"
        with ApiProcess(redis_url=redis.url, database_url=rows, max_body_bytes="65536") as api:
            async with open_queue(api.url) as queue:
                await queue.make()
                first = (await queue.publish(BODY)).json()["data"]["id"]
                ballast = Ballast(disk)
                ballast.fill()
                taken, status, code = await _until_refused(queue, durability="indexed")
                assert (status, code) == (503, "SCAIQUEUE_UNAVAILABLE")
                refused = await queue.http.post(queue.path + "/claim")
                assert (refused.status_code, code_of(refused)) == (503, "SCAIQUEUE_UNAVAILABLE")
                ballast.remove()

                async def again() -> bool:
                    return (await queue.publish(1)).status_code == 201

                await eventually(again, timeout=60)
                await _all_claimable(queue, [first, *taken])


async def test_no_room_for_the_rows(disk: Path, redis_url: str) -> None:
    with MariaDbServer(datadir=disk / "data") as mariadb:
        rows = mariadb.create_database("full")
        settings = {"max_body_bytes": "65536", "commit_timeout_s": "1", "backlog_limit": "400"}
        with ApiProcess(redis_url=redis_url, database_url=rows, **settings) as api:
            async with open_queue(api.url) as queue:
                await queue.make()
                first = (await queue.publish(BODY)).json()["data"]["id"]
                ballast = Ballast(disk)
                ballast.fill()
                taken, status, code = await _until_refused(queue, durability="committed")
                assert (status, code) == (503, "SCAIQUEUE_UNAVAILABLE")
                more, status, code = await _until_refused(queue, durability="indexed")
                assert (status, code) == (503, "SCAIQUEUE_BACKLOG_FULL")
                (held, *_) = await queue.claim()
                assert (await queue.complete(held)).status_code == 200
                ballast.remove()

                async def again() -> bool:
                    return (await queue.publish(1)).status_code == 201

                await eventually(again, timeout=60)
                expected = [one for one in (first, *taken, *more) if one != held["id"]]
                await _all_claimable(queue, expected)
                found = await queue.http.get(f"{queue.scope}/messages/{held['id']}")
                assert found.json()["data"]["state"] == "completed"
