"""celery: delay, one by one; one worker of the solo pool that prefetches 100, results ignored."""

import sys

from celery import Celery
from tally import ARGUMENT, Tally, told, trickling

mode, url, jobs = sys.argv[1], sys.argv[2], int(sys.argv[3])
app = Celery("peer", broker=url)
app.conf.update(task_ignore_result=True, worker_prefetch_multiplier=100, worker_hijack_root_logger=False)
tally = Tally()


@app.task(name="job")
def job(argument: str) -> None:
    tally.tick(argument)


def enqueue() -> None:
    for _ in range(jobs):
        job.delay(ARGUMENT)


if mode == "enqueue":
    told(jobs, enqueue)
elif mode == "trickle":
    for argument in trickling():
        job.delay(argument)
else:
    app.worker_main(
        [
            "worker",
            "--pool=solo",
            "--loglevel=ERROR",
            "--without-gossip",
            "--without-mingle",
            "--without-heartbeat",
        ]
    )
