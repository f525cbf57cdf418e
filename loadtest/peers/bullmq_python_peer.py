"""BullMQ for Python: addBulk of 500; one worker of concurrency 100, completed jobs removed."""

import asyncio
import sys
import time

import uvloop
from bullmq import Queue, Worker
from tally import ARGUMENT, Tally, cpu, tell, trickling

mode, url, jobs = sys.argv[1], sys.argv[2], int(sys.argv[3])
OPTIONS = {"removeOnComplete": True}
tally = Tally()


async def enqueue() -> None:
    queue = Queue("jobs", {"connection": url})
    began, used = time.perf_counter(), cpu()
    for _ in range(0, jobs, 500):
        await queue.addBulk(
            [{"name": "job", "data": {"argument": ARGUMENT}, "opts": OPTIONS} for _ in range(500)]
        )
    tell(jobs, time.perf_counter() - began, cpu() - used)
    await queue.close()


async def trickle() -> None:
    queue = Queue("jobs", {"connection": url})
    for argument in trickling():
        await queue.add("job", {"argument": argument}, OPTIONS)
    await queue.close()


async def work() -> None:
    async def job(one, _token):  # type: ignore[no-untyped-def]
        tally.tick(one.data["argument"])

    Worker("jobs", job, {"connection": url, "concurrency": 100})
    await asyncio.Event().wait()


uvloop.run({"enqueue": enqueue, "trickle": trickle}.get(mode, work)())
