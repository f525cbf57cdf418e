"""One consumer of the demo, a process of its own.

It claims, reports what it was given on standard output, waits for a line on standard input, then completes,
reports that, and claims again. The end of its input ends it.

Run by the demo: python -m loadtest.consumer <queue URL> <scope URL> <name> <batch size> <lease in s>.
The key comes from SCAIQUEUE_API_KEY.
"""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

import aiohttp
import msgspec
from msgspec import Raw

WAIT_S = 2


class Delivery(msgspec.Struct):
    """One message as a claim handed it out; `body` is the slice of the answer, byte for byte."""

    id: str
    type: str
    attempts: int
    body: bytes


class Report(msgspec.Struct, omit_defaults=True):
    """A line of a consumer: what it holds now, or what became of it (ids that are completed, or lost)."""

    claimed: list[Delivery] = []
    completed: list[str] = []
    lost: list[str] = []


class _Claimed(msgspec.Struct):
    id: str
    message_type: str
    attempts: int
    claim_token: str
    body: Raw


class _ClaimAnswer(msgspec.Struct):
    data: list[_Claimed]


class _Settled(msgspec.Struct):
    id: str
    state: str = ""
    error: Any = None


class _SettleAnswer(msgspec.Struct):
    data: list[_Settled]


async def consume(
    session: aiohttp.ClientSession,
    queue_url: str,
    scope_url: str,
    name: str,
    batch: int,
    lease_s: int,
    orders: asyncio.Queue[bytes],
) -> None:
    ask = {"batch_size": batch, "visibility_timeout_s": lease_s, "wait_s": WAIT_S, "consumer_id": name}
    while True:
        claimed = msgspec.json.decode(
            await _post(session, f"{queue_url}/messages/claim", ask), type=_ClaimAnswer
        ).data
        if not claimed:
            continue
        _say(Report([Delivery(one.id, one.message_type, one.attempts, bytes(one.body)) for one in claimed]))
        await orders.get()
        items = [
            {
                "id": one.id,
                "claim_token": one.claim_token,
                "response": {"size": len(bytes(one.body)), "by": name},
            }
            for one in claimed
        ]
        answer = await _post(session, f"{scope_url}/messages/complete", {"items": items})
        settled = msgspec.json.decode(answer, type=_SettleAnswer).data
        _say(
            Report(
                completed=[one.id for one in settled if one.state == "completed"],
                lost=[one.id for one in settled if one.state != "completed"],
            )
        )


async def _post(session: aiohttp.ClientSession, url: str, content: Any) -> bytes:
    async with session.post(url, json=content) as answer:
        received = await answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"{url}: {answer.status} {received.decode(errors='replace')}")
        return received


def _say(report: Report) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(report) + b"\n")
    sys.stdout.buffer.flush()


async def _main(queue_url: str, scope_url: str, name: str, batch: str, lease_s: str) -> None:
    orders: asyncio.Queue[bytes] = asyncio.Queue()
    headers = {"Authorization": f"Bearer {os.environ['SCAIQUEUE_API_KEY']}"}
    async with aiohttp.ClientSession(headers=headers) as session:
        tasks = [
            asyncio.create_task(
                consume(session, queue_url, scope_url, name, int(batch), int(lease_s), orders)
            ),
            asyncio.create_task(_pass_on(orders)),
        ]
        done, running = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in running:
            task.cancel()
        for task in done:
            task.result()


async def _pass_on(orders: asyncio.Queue[bytes]) -> None:
    """Returns at the end of the input."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while line := await reader.readline():
        orders.put_nowait(line)


if __name__ == "__main__":
    asyncio.run(_main(*sys.argv[1:]))
