"""saq: 100 enqueues in flight; one worker of concurrency 10."""

import asyncio
import sys

import uvloop
from saq import Queue, Worker
from tally import ARGUMENT, Tally, cpu, tell, trickling

mode, url, jobs = sys.argv[1], sys.argv[2], int(sys.argv[3])
queue = Queue.from_url(url)


async def enqueue() -> None:
    import time

    await queue.connect()
    began, used = time.perf_counter(), cpu()
    for _ in range(jobs // 100):
        await asyncio.gather(*(queue.enqueue("job", argument=ARGUMENT) for _ in range(100)))
    tell(jobs, time.perf_counter() - began, cpu() - used)
    await queue.disconnect()


async def trickle() -> None:
    await queue.connect()
    for argument in trickling():
        await queue.enqueue("job", argument=argument)
    await queue.disconnect()


async def work() -> None:
    tally = Tally()

    async def job(_ctx, *, argument):  # type: ignore[no-untyped-def]
        tally.tick(argument)

    await Worker(queue, functions=[("job", job)], concurrency=10, dequeue_timeout=1).start()


uvloop.run({"enqueue": enqueue, "trickle": trickle}.get(mode, work)())
