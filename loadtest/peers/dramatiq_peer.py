"""dramatiq: send, one by one; one worker process of 2 threads that prefetches 500."""

import os
import sys
import threading

os.environ["dramatiq_queue_prefetch"] = "500"  # noqa: SIM112 (dramatiq's spelling)

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from tally import ARGUMENT, Tally, told, trickling

mode, url, jobs = sys.argv[1], sys.argv[2], int(sys.argv[3])
broker = RedisBroker(url=url)
dramatiq.set_broker(broker)
tally = Tally()


@dramatiq.actor
def job(argument: str) -> None:
    tally.tick(argument)


def enqueue() -> None:
    for _ in range(jobs):
        job.send(ARGUMENT)


if mode == "enqueue":
    told(jobs, enqueue)
elif mode == "trickle":
    for argument in trickling():
        job.send(argument)
else:
    dramatiq.Worker(broker, worker_threads=2).start()
    threading.Event().wait()
