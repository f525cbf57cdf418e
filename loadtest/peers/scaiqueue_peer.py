"""ScaiQueue: publish_many of 500; one worker of concurrency 100 that prefetches 400."""

import sys
import time

import uvloop
from tally import ARGUMENT, Tally, cpu, tell, trickling

from scaiqueue.client import App, Client, Draft, Worker

mode, url, jobs = sys.argv[1], sys.argv[2], int(sys.argv[3])
app = App(Client(url, scope="peer"))
tally = Tally()


@app.job("job")
async def job(argument: str) -> None:
    tally.tick(argument)


async def enqueue() -> None:
    async with app:
        began, used = time.perf_counter(), cpu()
        for _ in range(0, jobs, 500):
            results = await app.client.publish_many("jobs", [Draft("job", ARGUMENT) for _ in range(500)])
            assert all(one.state == "pending" for one in results)
        tell(jobs, time.perf_counter() - began, cpu() - used)


async def trickle() -> None:
    async with app:
        for argument in trickling():
            await app.client.publish("jobs", "job", argument)


async def work() -> None:
    worker = Worker(app, concurrency=100, prefetch=400)
    tally.ended = worker.stop
    async with app:
        await worker.run()


uvloop.run({"enqueue": enqueue, "trickle": trickle}.get(mode, work)())
