"""streaq: enqueue_many of 500; one worker of concurrency 64."""

import sys
import time

import anyio
from streaq import Worker
from tally import ARGUMENT, Tally, cpu, tell, trickling

mode, url, jobs = sys.argv[1], sys.argv[2], int(sys.argv[3])
worker = Worker(redis_url=url, concurrency=64)
tally = Tally()


@worker.task(name="job", ttl=0)
async def job(argument: str) -> None:
    tally.tick(argument)


async def enqueue() -> None:
    async with worker:
        began, used = time.perf_counter(), cpu()
        for _ in range(jobs // 500):
            await worker.enqueue_many([job.enqueue(ARGUMENT) for _ in range(500)])
        tell(jobs, time.perf_counter() - began, cpu() - used)


async def trickle() -> None:
    async with worker:
        for argument in trickling():
            await job.enqueue(argument)


chosen = {"enqueue": enqueue, "trickle": trickle}.get(mode, worker.run_async)
anyio.run(chosen, backend_options={"use_uvloop": True})
