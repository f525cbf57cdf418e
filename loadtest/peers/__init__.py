"""Other queues, each run in a virtual environment of its own, doing jobs that do nothing.

Each program is called `PROGRAM enqueue URL JOBS` or `PROGRAM work URL JOBS`, and writes one line
`RESULT {json}`. Those of workers also take `trickle`, single jobs one after the other, and `wait`, which
tells how long after their publish these started.
"""
