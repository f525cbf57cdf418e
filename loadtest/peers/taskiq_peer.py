"""taskiq with taskiq-redis' stream broker, which acknowledges: 100 kicks in flight; 100 tasks at a time."""

import asyncio
import sys
import time

import uvloop
from tally import ARGUMENT, Tally, cpu, tell, trickling
from taskiq.api import run_receiver_task
from taskiq_redis import RedisStreamBroker

mode, url, jobs = sys.argv[1], sys.argv[2], int(sys.argv[3])
broker = RedisStreamBroker(url)
tally = Tally()


@broker.task(task_name="job")
async def job(argument: str) -> None:
    tally.tick(argument)


async def enqueue() -> None:
    await broker.startup()
    began, used = time.perf_counter(), cpu()
    for _ in range(jobs // 100):
        await asyncio.gather(*(job.kiq(ARGUMENT) for _ in range(100)))
    tell(jobs, time.perf_counter() - began, cpu() - used)
    await broker.shutdown()


async def trickle() -> None:
    await broker.startup()
    for argument in trickling():
        await job.kiq(argument)
    await broker.shutdown()


async def work() -> None:
    broker.is_worker_process = True
    await run_receiver_task(broker, max_async_tasks=100, run_startup=True)


uvloop.run({"enqueue": enqueue, "trickle": trickle}.get(mode, work)())
