"""rq: enqueue_many of 500; one SimpleWorker, which does not fork."""

import logging
import sys

from redis import Redis
from rq import Queue, SimpleWorker
from tally import ARGUMENT, Tally, told, trickling

mode, url, jobs = sys.argv[1], sys.argv[2], int(sys.argv[3])
connection = Redis.from_url(url)
queue = Queue(connection=connection)
tally = Tally()


def job(argument: str) -> None:
    tally.tick(argument)


def enqueue() -> None:
    for _ in range(0, jobs, 500):
        queue.enqueue_many(
            [Queue.prepare_data("rq_peer.job", (ARGUMENT,), result_ttl=60) for _ in range(500)]
        )


if mode == "enqueue":
    told(jobs, enqueue)
elif mode == "trickle":
    for argument in trickling():
        queue.enqueue("rq_peer.job", argument, result_ttl=60)
else:
    logging.disable(logging.WARNING)
    # The worker imports the job by its name: let that be this module.
    sys.modules["rq_peer"] = sys.modules["__main__"]
    SimpleWorker([queue], connection=connection).work(burst=mode == "work")
