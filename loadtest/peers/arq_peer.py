"""arq: 50 enqueues in flight; one worker of 1,000 jobs at a time, polling every 5 ms, results not kept."""

import asyncio
import sys
import time

import uvloop
from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker, func
from tally import ARGUMENT, Tally, cpu, tell, trickling

mode, url, jobs = sys.argv[1], sys.argv[2], int(sys.argv[3])
settings = RedisSettings.from_dsn(url)


async def enqueue() -> None:
    pool = await create_pool(settings)
    began, used = time.perf_counter(), cpu()
    for _ in range(jobs // 50):
        await asyncio.gather(*(pool.enqueue_job("job", ARGUMENT) for _ in range(50)))
    tell(jobs, time.perf_counter() - began, cpu() - used)


async def trickle() -> None:
    pool = await create_pool(settings)
    for argument in trickling():
        await pool.enqueue_job("job", argument)


async def work() -> None:
    tally = Tally()

    async def job(_ctx, argument):  # type: ignore[no-untyped-def]
        tally.tick(argument)

    worker = Worker(
        [func(job, name="job")],
        redis_settings=settings,
        max_jobs=1000,
        poll_delay=0.005,
        keep_result=0,
        handle_signals=False,
    )
    await worker.async_run()


uvloop.run({"enqueue": enqueue, "trickle": trickle}.get(mode, work)())
